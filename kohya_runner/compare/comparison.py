"""A finished comparison as one value, and which checkpoint its figures speak for: a suggestion, the eye decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kohya_runner.compare.checkpoints import Skipped
    from kohya_runner.compare.metrics import Metric, Table
    from kohya_runner.compare.training_data import Losses


COPY = 0.985
"""From here on a picture counts as a copy of a training picture."""
STILL = 0.01
"""A drift below this is a LoRA that does nothing."""
REASONS = 3


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


@dataclass(frozen=True, slots=True)
class GridRow:
    """One row of the grid; ``sampler`` is "" where there is no choice of one."""

    prompt: int
    sampler: str
    seed: int

    def said(self, *, several: bool) -> str:
        """``seed 42``, and the sampler where there are several."""
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
        """Where it stands."""
        return GridRow(self.prompt, self.sampler, self.seed)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``column`` is None where the figures speak for none; ``reason`` is a whole sentence either way."""

    column: int | None
    reason: str
    scores: tuple[float | None, ...] = ()


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

    @property
    def rows(self) -> tuple[GridRow, ...]:
        """The grid's rows from above."""
        return tuple(
            GridRow(prompt, sampler, seed)
            for prompt in range(len(self.prompts))
            for sampler in self.samplers
            for seed in self.seeds
        )

    @property
    def failed(self) -> tuple[Shown, ...]:
        """The cells without a picture."""
        return tuple(shown for shown in self.shown if shown.path is None)

    def at(self, column: int, row: GridRow) -> Shown | None:
        """What is shown at a place of the grid."""
        return next((s for s in self.shown if s.column == column and s.row == row), None)


def suggest(table: Table, labels: Sequence[str], candidates: Sequence[int]) -> Suggestion:
    """Weigh the metrics against each other, each stretched to 0..1 over the candidates; ties go to the earlier one.

    Columns that copy a training picture are left out unless all of them do.
    """
    if not candidates:
        return Suggestion(None, "No checkpoint produced a picture.")
    if len(candidates) == 1:
        return Suggestion(candidates[0], f"{labels[candidates[0]]} is the only one.")
    drifts = [d for n in candidates if (d := table.columns[n].get("drift")) is not None]
    if drifts and max(drifts) < STILL:
        return Suggestion(None, f"No checkpoint changes the base model's pictures by more than {max(drifts):.1%}.")
    fair = [n for n in candidates if (table.columns[n].get("memorised") or 0.0) < COPY] or list(candidates)
    shares = {m: _shares(m, table, fair) for m in table.rows() if m.weight}
    shares = {m: found for m, found in shares.items() if found}
    if not shares:
        return Suggestion(None, "The figures are the same for every checkpoint.")
    scores = {n: sum(found[n] for found in shares.values()) for n in fair}
    best = max(fair, key=lambda n: (round(scores[n], 6), -n))
    left = [labels[n] for n in candidates if n not in fair]
    copies = f" Left out, because they copy a training picture: {', '.join(left)}." if left else ""
    reason = _reason(best, table, labels, shares) + copies
    return Suggestion(best, reason, tuple(scores.get(n) for n in range(len(table.columns))))


def _shares(metric: Metric, table: Table, fair: Sequence[int]) -> dict[int, float]:
    """What the metric gives to each column's score; empty where it tells none apart."""
    values = {n: value for n in fair if (value := table.columns[n].get(metric.key)) is not None}
    low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
    if len(values) < len(fair) or high - low < 1e-9:
        return {}
    stretched = {n: min(1.0, (value - low) / (high - low) / metric.enough) for n, value in values.items()}
    return {n: metric.weight * v if metric.weight > 0 else -metric.weight * (1 - v) for n, v in stretched.items()}


def _reason(best: int, table: Table, labels: Sequence[str], shares: dict[Metric, dict[int, float]]) -> str:
    """What spoke most for it."""
    fair = list(next(iter(shares.values())))
    strong = sorted(shares, key=lambda m: -shares[m][best])[:REASONS]
    said = [_said(metric, best, table, fair) for metric in strong if shares[metric][best] > 0]
    return f"{labels[best]} has the best balance: {'; '.join(said)}."


def _said(metric: Metric, best: int, table: Table, fair: Sequence[int]) -> str:
    """``edge hardness 0.81 (best of 6)``."""
    value = table.columns[best][metric.key]
    assert value is not None  # noqa: S101 - it has a share
    others = [v for n in fair if (v := table.columns[n].get(metric.key)) is not None]
    place = 1 + sum(v > value if metric.weight > 0 else v < value for v in others)
    rank = f"best of {len(others)}" if place == 1 else f"{place}{_ending(place)} of {len(others)}"
    return f"{metric.title} {value:.3g} ({rank})"


def _ending(place: int) -> str:
    return "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
