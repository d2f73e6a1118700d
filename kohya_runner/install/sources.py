"""Fetching the trainer's sources: the submodule of this clone, or the pinned commit into the runner's home."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.child_environment import child_environment
from kohya_runner.errors import TrainerError
from kohya_runner.findings import error
from kohya_runner.install.checkout import Checkout, commit_of, fetched_checkout, is_checkout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.engine_info import EngineInfo

    Say = Callable[[str], None]

REACH_SECONDS = 30.0  # a name that does not resolve, or a firewall that swallows packets
FETCH_SECONDS = 900.0
QUIET = (
    "-c",
    "safe.directory=*",
    "-c",
    "http.lowSpeedLimit=1000",
    "-c",
    "http.lowSpeedTime=30",
    "-c",
    "advice.detachedHead=false",
)


def fetch_sources(
    environ: Mapping[str, str], *, project: Path | None, home: Path, say: Say, engine: EngineInfo
) -> Checkout:
    """The pinned commit of the engine: as the clone's submodule, else in the runner's home.

    Raises:
        TrainerError: no git, no network, or not the files that should be there.
    """
    if shutil.which("git", path=environ.get("PATH")) is None:
        raise _unfetched("the trainer's sources are not there, and git is not installed to fetch them", engine)
    in_clone = project is not None and (project / ".git").exists()
    _reach(_git_environment(environ), engine)
    say(f"fetching {engine.title} {engine.commit[:8]} from {engine.repository}: {engine.size}")
    if in_clone and project is not None:
        root, who = _update_submodule(project, environ, engine), f"{engine.submodule} of this clone"
    else:
        root, who = _fetch_commit(fetched_checkout(home, engine), environ, engine), "kohya-runner setup"
    if not is_checkout(root, engine):
        raise TrainerError(f"{root} was fetched but is not a checkout of {engine.name}", hint=_hint(engine))
    found = commit_of(root)
    if found != engine.commit:
        raise TrainerError(
            f"{root} was fetched and is at {found or 'no commit'}, not at {engine.commit}",
            hint="delete the folder and try again; if it stays so, the repository is not the one it says",
        )
    return Checkout(root, commit_of(root), who, engine)


def _hint(engine: EngineInfo) -> str:
    option = f"{engine.option} DIR, " if engine.option else ""
    there = f"{option}${engine.variable} or {engine.setting}: in the settings"
    return f"check the network, or name a checkout that is already there: {there}"


def _unfetched(message: str, engine: EngineInfo) -> TrainerError:
    """The error by whose finding start_training.sh knows that the sources, and not something else, are missing."""
    hint = _hint(engine)
    return TrainerError(message, hint=hint, findings=(error("trainer.sources", message, hint=hint),))


def _git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Git that never waits for a person to type a password."""
    ssh = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15"}
    return {**ssh, **child_environment(environ, install=True), "GIT_TERMINAL_PROMPT": "0"}


def _reach(environ: Mapping[str, str], engine: EngineInfo) -> None:
    """Fail within seconds where the repository cannot be had, instead of hanging on a connection."""
    try:
        done = _git(("ls-remote", engine.repository, "HEAD"), Path("/"), environ, REACH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"{engine.repository}: no answer within {REACH_SECONDS:.0f} s", engine) from None
    if done.returncode != 0:
        raise _unfetched(f"the trainer's sources cannot be fetched: {_last_line(done)}", engine)


def _update_submodule(project: Path, environ: Mapping[str, str], engine: EngineInfo) -> Path:
    update = ("submodule", "update", "--init", "--depth", "1", str(engine.submodule))
    _must(update, project, _git_environment(environ), engine)
    return project / engine.submodule


def _fetch_commit(target: Path, environ: Mapping[str, str], engine: EngineInfo) -> Path:
    """One commit, without its history, put into place in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    git = _git_environment(environ)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        partial = Path(name) / "checkout"
        partial.mkdir()
        _must(("init", "--quiet"), partial, git, engine)
        _must(("fetch", "--quiet", "--depth", "1", engine.repository, engine.commit), partial, git, engine)
        _must(("checkout", "--quiet", "FETCH_HEAD"), partial, git, engine)
        if target.exists():  # what an earlier attempt left
            shutil.rmtree(target)
        partial.rename(target)
    return target


def _must(arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str], engine: EngineInfo) -> None:
    try:
        done = _git(arguments, folder, environ, FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"git {arguments[0]} took longer than {FETCH_SECONDS:.0f} s", engine) from None
    if done.returncode != 0:
        raise _unfetched(f"git {arguments[0]} failed: {_last_line(done)}", engine)


def _git(
    arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("git", *QUIET, *arguments), cwd=folder, env=dict(environ), timeout=seconds, check=False,
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
    )  # fmt: skip


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    return (fatal or lines or [f"exit code {done.returncode}"])[-1]
