"""A finished comparison as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.compare.checkpoints import Skipped
from kohya_runner.compare.metrics import Table
from kohya_runner.compare.training_data import Losses


@dataclass(frozen=True, slots=True)
class Head:
    """One column's title and file; ``number`` is what ``--pick`` takes. ``base`` is a model without any training."""

    label: str
    base: bool = False
    number: int | None = None
    path: Path | None = None
    sha256: str = ""
    strength: float = 1.0
    epoch: int | None = None
    step: int | None = None
    slot: str = ""


@dataclass(frozen=True, slots=True)
class GridRow:
    """One row of the grid; ``sampler`` is "" where there is no choice of one."""

    prompt: int
    sampler: str
    seed: int

    def said(self, *, several: bool) -> str:
        return f"{self.sampler}, seed {self.seed}" if several else f"seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of the grid, or why there is none. ``path`` is where it lies."""

    column: int
    prompt: int
    seed: int
    path: Path | None
    key: str = ""
    problem: str = ""
    sampler: str = ""

    @property
    def row(self) -> GridRow:
        return GridRow(self.prompt, self.sampler, self.seed)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``column`` is None where the figures speak for none; ``reason`` is a whole sentence either way."""

    column: int | None
    reason: str
    scores: tuple[float | None, ...] = ()
    verdict: str = ""  # in a few words, for programs
    tied: tuple[int, ...] = ()  # the columns that the figures cannot tell apart

    @property
    def title(self) -> str:
        return "No suggestion" if self.column is None else "Suggestion"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything of one sweep. ``how`` says how the pictures were made, for people and for programs."""

    name: str
    folder: Path
    columns: tuple[Head, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    shown: tuple[Shown, ...]
    table: Table
    suggestion: Suggestion
    how: Mapping[str, object] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    losses: Losses | None = None
    command: str = ""  # how to compare again, for the page's pick command
    samplers: tuple[str, ...] = ("",)
    controls: tuple[str, ...] = ()  # the picture that each prompt edits
    hint: str = ""  # what would tell more
    runs: tuple[tuple[str, ...], ...] = ()  # a table of the runs that were compared, its headings first

    @property
    def rows(self) -> tuple[GridRow, ...]:
        return tuple(
            GridRow(prompt, sampler, seed)
            for prompt in range(len(self.prompts))
            for sampler in self.samplers
            for seed in self.seeds
        )

    @property
    def failed(self) -> tuple[Shown, ...]:
        return tuple(shown for shown in self.shown if shown.path is None)

    def at(self, column: int, row: GridRow) -> Shown | None:
        return next((s for s in self.shown if s.column == column and s.row == row), None)
