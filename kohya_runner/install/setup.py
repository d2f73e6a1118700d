"""``kohya-runner setup``: the trainer's sources and its environment, found or made; doing it twice changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.errors import TrainerError
from kohya_runner.install.checkout import Checkout, TrainerPython, find_checkout, find_python, project_root
from kohya_runner.install.environment import lock, make_environment, plan_for, recorded, setup_home
from kohya_runner.install.packages import OPENCV_BUILDS, missing, requirement_names
from kohya_runner.install.probe import PACKAGES, probe
from kohya_runner.install.sources import fetch_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo
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
) -> InstalledTrainer:
    """Find or fetch the sources, find or make the environment. ``say`` hears one line for each thing that takes time.

    Raises:
        TrainerError: something cannot be had here; the hint says what to do.
        PreflightError: the disk is too small.
    """
    home = setup_home(environ)
    with lock(home, say):
        found = _found(environ, settings, engine, option=sd_scripts, home=home)
        checkout = found or fetch_sources(environ, project=project_root(), home=home, say=say, engine=engine)
        if found is not None:
            say(f"the trainer's sources are there: {found.root} ({found.named_by})")
        requirements = _requirements(checkout.root, engine)
        named = find_python(python, environ, settings=settings, recorded=None, engine=engine)
        if named is not None:
            _complete(named, requirements, engine)
            say(f"the trainer's Python is there: {named.path} ({named.named_by})")
            return InstalledTrainer(checkout, named)
        plan = plan_for(environ, requirements, xformers=engine.xformers)
        made = make_environment(plan, checkout, home=home, environ=environ, say=say)
        return InstalledTrainer(checkout, TrainerPython(made, "kohya-runner setup", own=True))


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
    checkout = _found(environ, settings, engine, option=sd_scripts, home=home)
    known = done.python if done else None
    return checkout, find_python(python, environ, settings=settings, recorded=known, engine=engine)


def _found(
    environ: Mapping[str, str], settings: UserSettings, engine: EngineInfo, *, option: str | None, home: Path
) -> Checkout | None:
    return find_checkout(option, environ, settings=settings, project=project_root(), home=home, engine=engine)


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
        raise TrainerError(
            f"{python.named_by} names {python.path}, which lacks {', '.join(absent)}",
            hint=f"install the requirements of {engine.name} there, or take that setting away and setup makes an "
            "environment",
        )
