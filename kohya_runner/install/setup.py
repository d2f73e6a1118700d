"""``kohya-runner setup``: the trainer's sources and its environment, found or made; doing it twice changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.engine_info import EngineInfo, project_root
from kohya_runner.errors import TrainerError
from kohya_runner.findings import error
from kohya_runner.install.checkout import (
    Checkout,
    TrainerPython,
    commit_of,
    fetched_checkout,
    find_python,
    found_checkout,
    git_environment,
    is_checkout,
    run_git,
    setup_home,
)
from kohya_runner.install.environment import add_packages, lock, make_environment, plan_for
from kohya_runner.install.probe import OPENCV_BUILDS, PACKAGES, missing, probe, requirement_names
from kohya_runner.settings import UserSettings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InstalledTrainer:
    """A trainer that can be started."""

    checkout: Checkout
    python: TrainerPython


def setup(  # noqa: PLR0913 - what each setting may name
    environ: Mapping[str, str],
    settings: UserSettings,
    *,
    say: Say,
    sd_scripts: str | None = None,
    python: str | None = None,
    engine: EngineInfo,
    packages: tuple[str, ...] = (),
) -> InstalledTrainer:
    """Find or fetch the sources, find or make the environment. ``say`` hears one line for each thing that takes time.

    ``packages`` are those of a recipe's launch.packages, which somebody looked at.

    Raises:
        TrainerError: something cannot be had here; the hint says what to do.
        PreflightError: the disk is too small.
    """
    home = setup_home(environ)
    with lock(home, say):
        found = found_checkout(environ, settings, engine, option=sd_scripts, home=home)
        checkout = found or fetch_sources(environ, project=project_root(), home=home, say=say, engine=engine)
        if found is not None:
            say(f"the trainer's sources are there: {found.root} ({found.named_by})")
        requirements = _requirements(checkout.root, engine)
        named = find_python(python, environ, settings=settings, recorded=None, engine=engine)
        if named is not None:
            _complete(named, requirements, engine)
            say(f"the trainer's Python is there: {named.path} ({named.named_by})")
            add_packages(named, packages, home=home, environ=environ, say=say)
            return InstalledTrainer(checkout, named)
        plan = plan_for(environ, requirements, xformers=engine.xformers)
        made = make_environment(plan, checkout, home=home, environ=environ, say=say)
        own = TrainerPython(made, "kohya-runner setup", own=True)
        add_packages(own, packages, home=home, environ=environ, say=say)
        return InstalledTrainer(checkout, own)


def _requirements(root: Path, engine: EngineInfo) -> str:
    if not engine.requirement_file:
        return "\n".join(engine.requirements)
    file = root / engine.requirement_file
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise TrainerError(f"{file} cannot be read: {fault}", hint="is the checkout whole?") from None


def _complete(python: TrainerPython, requirements: str, engine: EngineInfo) -> None:
    """A Python that somebody named is theirs: it is used or refused, never changed."""
    needed = ("torch", "torchvision", *requirement_names(requirements))
    absent = missing(probe(python.path, (*PACKAGES, *needed, *OPENCV_BUILDS)), needed)
    if absent:
        hint = f"install the requirements of {engine.name} there, or take that setting away: setup makes an environment"
        raise TrainerError(f"{python.named_by} names {python.path}, which lacks {', '.join(absent)}", hint=hint)


REACH_SECONDS = 30.0  # a name that does not resolve, or a firewall that swallows packets
FETCH_SECONDS = 900.0


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
    _reach(git_environment(environ), engine)
    say(f"fetching {engine.title} {engine.commit[:8]} from {engine.repository}: {engine.size}")
    if in_clone and project is not None:
        update = ("submodule", "update", "--init", "--depth", "1", str(engine.submodule))
        _must(update, project, git_environment(environ), engine)
        root, who = project / engine.submodule, f"{engine.submodule} of this clone"
    else:
        root, who = _fetch_commit(fetched_checkout(home, engine), environ, engine), "kohya-runner setup"
    if not is_checkout(root, engine):
        raise TrainerError(f"{root} was fetched but is not a checkout of {engine.name}", hint=_hint(engine))
    found = commit_of(root)
    if found != engine.commit:
        hint = "delete the folder and try again; if it stays so, the repository is not the one it says"
        raise TrainerError(f"{root} was fetched and is at {found or 'no commit'}, not at {engine.commit}", hint=hint)
    return Checkout(root, found, who, engine)


def _hint(engine: EngineInfo) -> str:
    option = f"{engine.option} DIR, " if engine.option else ""
    there = f"{option}${engine.variable} or {engine.setting}: in the settings"
    return f"check the network, or name a checkout that is already there: {there}"


def _unfetched(message: str, engine: EngineInfo) -> TrainerError:
    """The error by whose finding start_training.sh knows that the sources, and not something else, are missing."""
    hint = _hint(engine)
    return TrainerError(message, hint=hint, findings=(error("trainer.sources", message, hint=hint),))


def _reach(environ: Mapping[str, str], engine: EngineInfo) -> None:
    """Fail within seconds where the repository cannot be had, instead of hanging on a connection."""
    try:
        done = run_git(("ls-remote", engine.repository, "HEAD"), Path("/"), environ, REACH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"{engine.repository}: no answer within {REACH_SECONDS:.0f} s", engine) from None
    if done.returncode != 0:
        raise _unfetched(f"the trainer's sources cannot be fetched: {_last_line(done)}", engine)


def _fetch_commit(target: Path, environ: Mapping[str, str], engine: EngineInfo) -> Path:
    """One commit, without its history, put into place in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    git = git_environment(environ)
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
        done = run_git(arguments, folder, environ, FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unfetched(f"git {arguments[0]} took longer than {FETCH_SECONDS:.0f} s", engine) from None
    if done.returncode != 0:
        raise _unfetched(f"git {arguments[0]} failed: {_last_line(done)}", engine)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    return (fatal or lines or [f"exit code {done.returncode}"])[-1]
