"""What an engine makes of a recipe that could be read: the numbers, the folders, the options, and what runs before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.arguments import Arg
    from kohya_runner.engines.settings import Settings
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.plan.draft import Draft, Known
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.record.resume_point import Series


@dataclass(frozen=True, slots=True)
class Stage:
    """A script that must end well before the training begins. ``phase`` is what it does, in the words of a screen."""

    phase: str
    script: str
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that must be there before the first stage: a dataset config, a rendered metadata file."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Built:
    """``known`` holds every option that will be passed to the training; ``series`` is the run that goes on.

    ``anew`` are the options as they would be without it; None: the same.
    """

    known: Known
    layout: Layout
    steps: StepsPlan | None
    run_dir: Path
    series: Series | None = None
    anew: tuple[Arg, ...] | None = None
    stages: tuple[Stage, ...] = ()
    files: tuple[TextFile, ...] = ()
    caches: Path | None = None  # the folder that the stages fill


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an engine decides in its own way; all else in a plan is the same for every engine.

    ``picture_rules`` says by which resolution and buckets pictures are judged, ``can_build`` whether what was given is
    enough to go on, ``build`` the rest. All three only read; what they find is added to the draft's findings.
    """

    picture_rules: Callable[[Loaded, Settings], Rules]
    can_build: Callable[[Loaded, Settings], bool]
    build: Callable[[Draft, Known, tuple[Scan, ...]], Built]
