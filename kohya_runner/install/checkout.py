"""Where the trainer's sources and its Python are, which setting said so, and whether somebody edited them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.engine_info import EngineInfo, project_root
from kohya_runner.errors import TrainerError
from kohya_runner.safe_files import read_text
from kohya_runner.settings import UserSettings
from kohya_runner.text import child_environment
from kohya_runner.workspace import is_network_mount

_SHA = re.compile(r"^[0-9a-f]{40}$")


@dataclass(frozen=True, slots=True)
class Checkout:
    """The trainer's sources. ``commit`` is None where they are not a git checkout, such as an unpacked archive."""

    root: Path
    commit: str | None
    named_by: str
    engine: EngineInfo

    @property
    def pinned(self) -> bool:
        """Whether it is the commit this version of the runner was tested with."""
        return self.commit == self.engine.commit


@dataclass(frozen=True, slots=True)
class TrainerPython:
    """The trainer's interpreter as it was named: links are kept, because a venv's Python is one."""

    path: Path
    named_by: str
    own: bool = False  # made by ``kohya-runner setup``


def is_checkout(root: Path, engine: EngineInfo) -> bool:
    return all((root / mark).is_file() for mark in engine.marks)


def find_checkout(  # noqa: PLR0913 - each place of the search
    option: str | None,
    environ: Mapping[str, str],
    *,
    settings: UserSettings,
    project: Path | None,
    home: Path,
    engine: EngineInfo,
) -> Checkout | None:
    """The option, the engine's environment variable, the settings, ``vendor/<engine>``, what ``setup`` fetched.

    Raises:
        TrainerError: a place that was named is not a checkout of the engine.
    """
    named = (
        (option if engine.option else None, engine.option),
        (environ.get(engine.variable), f"${engine.variable}"),
        (settings.path(engine.setting), f"{engine.setting}: in {settings.file}"),
    )
    for value, who in named:
        if value:
            return _named_checkout(_absolute(value), who, engine)
    vendored = (project / engine.submodule, f"{engine.submodule} of this clone") if project else None
    for root, who in filter(None, (vendored, (fetched_checkout(home, engine), "kohya-runner setup"))):
        if is_checkout(root, engine):
            return Checkout(root, commit_of(root), who, engine)
    return None


def fetched_checkout(home: Path, engine: EngineInfo) -> Path:
    """Where ``setup`` puts the sources when the runner is installed without its git clone."""
    return home / f"{engine.name}-{engine.commit[:12]}"


def _named_checkout(root: Path, who: str, engine: EngineInfo) -> Checkout:
    if not root.is_dir():
        owner = engine.repository.removeprefix("https://github.com/").removesuffix(".git")
        raise TrainerError(f"{who} names {root}: there is no such folder", hint=f"name a checkout of {owner}")
    lacking = [mark for mark in engine.marks if not (root / mark).is_file()]
    if lacking:
        text = f"{who} names {root}, which is not a checkout of {engine.name}: it has no {lacking[0]}"
        raise TrainerError(text, hint=f"name the folder that holds {engine.marks[0]}")
    return Checkout(root, commit_of(root), who, engine)


def find_python(
    option: str | None, environ: Mapping[str, str], *, settings: UserSettings, recorded: Path | None, engine: EngineInfo
) -> TrainerPython | None:
    """The recipe's ``launch.python``, the engine's variable, the settings, the environment ``setup`` recorded.

    Raises:
        TrainerError: what was named is not an executable file.
    """
    named = (
        (option, "launch.python"),
        (environ.get(engine.python_variable), f"${engine.python_variable}"),
        (settings.path(engine.python_setting), f"{engine.python_setting}: in {settings.file}"),
    )
    for value, who in named:
        if value:
            path = _absolute(value)
            if path.is_file() and os.access(path, os.X_OK):
                return TrainerPython(path, who)
            inside = path / "bin" / "python"
            hint = f"write {inside}" if inside.is_file() else "name the python executable of the trainer's environment"
            raise TrainerError(f"{who} names {path}, which is not an executable file", hint=hint)
    if recorded is not None and os.access(recorded, os.X_OK):
        return TrainerPython(recorded, "kohya-runner setup", own=True)
    return None


def _absolute(value: str | Path) -> Path:
    return Path(os.path.abspath(Path(value).expanduser()))


def commit_of(root: Path) -> str | None:
    """The commit that is checked out, read from git's own files; None where there is no git."""
    git = root / ".git"
    if not git.is_dir():  # of a submodule or worktree it is a file that points to it
        named, found, pointer = _text(git).partition("gitdir: ")
        if named or not found:
            return None
        git = root / pointer
    head = _text(git / "HEAD")
    if not head.startswith("ref: "):
        return head if _SHA.match(head) else None
    # a branch's commit: a file of its own, or a line of packed-refs; a worktree shares the main folder's
    ref = head.removeprefix("ref: ")
    common = git / (_text(git / "commondir") or ".")
    for folder in (git, common):
        loose = _text(folder / ref)
        if loose and _SHA.match(loose):
            return loose
    for line in _text(common / "packed-refs").splitlines():
        sha, _, name = line.partition(" ")
        if name == ref and _SHA.match(sha):
            return sha
    return None


def _text(path: Path) -> str:
    return (read_text(path) or "").strip()


def setup_home(environ: Mapping[str, str]) -> Path:
    """Where ``setup`` puts what it makes: a local disk. A venv on a network volume takes 15 to 60 minutes.

    ``$KOHYA_RUNNER_HOME``, else ``kohya-runner`` in ``$XDG_DATA_HOME`` or ``~/.local/share``; where that is a network
    mount, root's own folder or ``/var/tmp``.
    """
    user = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or user / ".local" / "share")
    named = environ.get("KOHYA_RUNNER_HOME")
    home = Path(os.path.abspath(Path(named).expanduser())) if named else data / "kohya-runner"
    if not is_network_mount(home):
        return home
    local = Path("/root/.local/share/kohya-runner")
    if os.geteuid() == 0 and not is_network_mount(local):
        return local
    return Path(f"/var/tmp/kohya-runner-{os.geteuid()}")  # noqa: S108 - made with mode 700, and checked to be ours


@dataclass(frozen=True, slots=True)
class Recorded:
    """The environment that ``setup`` finished last."""

    python: Path
    stamp: str


def recorded(home: Path, engine: EngineInfo) -> Recorded | None:
    """What ``setup`` wrote down as its last act; None where it never came that far."""
    try:
        record = json.loads((home / engine.record).read_text(encoding="utf-8"))
        found = Recorded(Path(record["python"]), str(record["stamp"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if os.access(found.python, os.X_OK) else None


def find_trainer(
    environ: Mapping[str, str],
    settings: UserSettings,
    *,
    sd_scripts: str | None = None,
    python: str | None = None,
    engine: EngineInfo,
) -> tuple[Checkout | None, TrainerPython | None]:
    """What is there already, without making anything.

    Raises:
        TrainerError: a place that was named is not what it should be.
    """
    home = setup_home(environ)
    done = recorded(home, engine)
    checkout = found_checkout(environ, settings, engine, option=sd_scripts, home=home)
    known = done.python if done else None
    return checkout, find_python(python, environ, settings=settings, recorded=known, engine=engine)


def found_checkout(
    environ: Mapping[str, str], settings: UserSettings, engine: EngineInfo, *, option: str | None, home: Path
) -> Checkout | None:
    return find_checkout(option, environ, settings=settings, project=project_root(), home=home, engine=engine)


_SET = ("safe.directory=*", "http.lowSpeedLimit=1000", "http.lowSpeedTime=30", "advice.detachedHead=false")
QUIET = tuple(part for setting in _SET for part in ("-c", setting))


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Git that never waits for a person to type a password."""
    ssh = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15"}
    return {**ssh, **child_environment(environ, install=True), "GIT_TERMINAL_PROMPT": "0"}


def run_git(
    arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("git", *QUIET, *arguments), cwd=folder, env=dict(environ), timeout=seconds, check=False,
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
    )  # fmt: skip


STATUS_SECONDS = 30.0
NO_PROGRAMS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
"""A checkout may name programs of its own in its settings; to look at it runs none of them."""


def edited_files(checkout: Checkout, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Python files that are not those of the commit: changed, added or missing; what git says and what the hashes say.

    The hashes see what a changed index hides from git, and are all there is of an unpacked archive.
    """
    from kohya_runner.options.snapshot import content_hash, shipped

    found: set[str] = set()
    if checkout.commit is not None and shutil.which("git", path=environ.get("PATH")):
        wanted = (*NO_PROGRAMS, "status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames")
        quiet = {**git_environment(environ), "GIT_OPTIONAL_LOCKS": "0"}
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            done = run_git(wanted, checkout.root, quiet, STATUS_SECONDS)
            named = [entry[3:] for entry in done.stdout.split("\0")]
            new = {name for name in named if name.endswith("/") and any((checkout.root / name).glob("*.py"))}
            found |= {name for name in named if name.endswith(".py") or name in new}
    if checkout.pinned or checkout.commit is None:
        sources = shipped(checkout.engine).sources
        other = {path for path, digest in sources.items() if content_hash(checkout.root / path) != digest}
        found |= other if checkout.pinned or len(other) < len(sources) else set()  # all of them: another version
    return tuple(sorted(found))
