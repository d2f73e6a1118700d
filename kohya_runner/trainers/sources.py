"""Fetching the trainer's sources: the submodule of this clone, or the pinned commit into the runner's home."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.errors import TrainerError
from kohya_runner.findings import error
from kohya_runner.trainers.checkout import (
    PINNED_COMMIT,
    REPOSITORY,
    SUBMODULE,
    Checkout,
    commit_of,
    fetched_checkout,
    is_checkout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Say = Callable[[str], None]

REACH_SECONDS = 30.0  # a name that does not resolve, or a firewall that swallows packets
FETCH_SECONDS = 900.0
HINT = (
    "check the network, or name a checkout that is already there: --sd-scripts DIR, "
    "$KOHYA_RUNNER_SD_SCRIPTS or sd_scripts: in the settings"
)
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


def fetch_sources(environ: Mapping[str, str], *, project: Path | None, home: Path, say: Say) -> Checkout:
    """The pinned commit of sd-scripts: as the clone's submodule, else in the runner's home.

    Raises:
        TrainerError: no git, no network, or not the files that should be there.
    """
    if shutil.which("git", path=environ.get("PATH")) is None:
        raise _unfetched("the trainer's sources are not there, and git is not installed to fetch them")
    in_clone = project is not None and (project / ".git").exists()
    _reach(_git_environment(environ))
    say(f"fetching sd-scripts {PINNED_COMMIT[:8]} from {REPOSITORY}: 30 MB, well under a minute")
    if in_clone and project is not None:
        root, who = _update_submodule(project, environ), f"{SUBMODULE} of this clone"
    else:
        root, who = _fetch_commit(fetched_checkout(home), environ), "kohya-runner setup"
    if not is_checkout(root):
        raise TrainerError(f"{root} was fetched and is no sd-scripts checkout", hint=HINT)
    return Checkout(root, commit_of(root), who)


def _unfetched(message: str) -> TrainerError:
    """The error by whose finding start_training.sh knows that the sources, and not something else, are missing."""
    return TrainerError(message, hint=HINT, findings=(error("trainer.sources", message, hint=HINT),))


def _git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Git that never waits for a person to type a password."""
    ssh = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15"}
    return {**ssh, **environ, "GIT_TERMINAL_PROMPT": "0"}


def _reach(environ: Mapping[str, str]) -> None:
    """Fail within seconds where the repository cannot be had, instead of hanging on a connection."""
    try:
        done = _git(("ls-remote", REPOSITORY, "HEAD"), Path("/"), environ, REACH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"{REPOSITORY}: no answer within {REACH_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise _unfetched(f"the trainer's sources cannot be fetched: {_last_line(done)}")


def _update_submodule(project: Path, environ: Mapping[str, str]) -> Path:
    update = ("submodule", "update", "--init", "--depth", "1", str(SUBMODULE))
    _must(update, project, _git_environment(environ))
    return project / SUBMODULE


def _fetch_commit(target: Path, environ: Mapping[str, str]) -> Path:
    """One commit, without its history, put into place in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    git = _git_environment(environ)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        partial = Path(name) / "checkout"
        partial.mkdir()
        _must(("init", "--quiet"), partial, git)
        _must(("fetch", "--quiet", "--depth", "1", REPOSITORY, PINNED_COMMIT), partial, git)
        _must(("checkout", "--quiet", "FETCH_HEAD"), partial, git)
        if target.exists():  # what an earlier attempt left
            shutil.rmtree(target)
        partial.rename(target)
    return target


def _must(arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> None:
    try:
        done = _git(arguments, folder, environ, FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"git {arguments[0]} took longer than {FETCH_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise _unfetched(f"git {arguments[0]} failed: {_last_line(done)}")


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
