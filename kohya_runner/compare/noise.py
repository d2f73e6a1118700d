"""The noise of a figure: how far two columns differ by the choice of seeds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING

from kohya_runner.compare.pictures import difference

if TYPE_CHECKING:
    from kohya_runner.compare.metrics import Figures, Looked, Place


def floor(key: str, columns: Sequence[Sequence[Looked]], cells: Sequence[Mapping[Place, Figures]]) -> float | None:
    """How far two columns' figures lie apart by the choice of seeds alone, in 19 of 20 cases; None for one seed.

    What is left of each picture's figure after its column's and its seed's mean are taken away, prompt by prompt, is
    the noise; the base model's column counts like any other.
    """
    squares, freedom, count = 0.0, 0, 0
    for prompt in sorted({one.prompt for column in columns for one in column}):
        told = [_by_seed(key, prompt, *pair) for pair in zip(columns, cells, strict=True)]
        seeds = sorted(set().union(*told))
        count += len(seeds)
        lines = [[values[seed] for seed in seeds] for values in told if seeds and len(values) == len(seeds)]
        means = [fmean(same) for same in zip(*lines, strict=True)]
        middle = fmean(means) if means else 0.0
        squares += sum((v - fmean(line) - m + middle) ** 2 for line in lines for v, m in zip(line, means, strict=True))
        freedom += max(0, len(lines) - 1) * max(0, len(seeds) - 1)
    # the mean over pairs of seeds varies as if there were a quarter of them, the closest of all like a single picture
    share = {"diversity": 0.25, "memorised": 1 / max(1, count)}.get(key, 1.0)
    return student(freedom) * sqrt(2 * squares / freedom / (count * share)) if freedom else None


def _by_seed(key: str, prompt: int, column: Sequence[Looked], cells: Mapping[Place, Figures]) -> dict[int, float]:
    """One prompt's figures by seed, the mean over the samplers."""
    same = [one for one in column if one.prompt == prompt]
    found: dict[int, list[float]] = {}
    for one in same:
        value = cells.get(one.place, {}).get(key)
        if key == "diversity":
            others = [o.small for o in same if o.sampler == one.sampler and o.seed != one.seed]
            value = fmean(difference(one.small, other) for other in others) if others else None
        if value is not None:
            found.setdefault(one.seed, []).append(value)
    return {seed: fmean(values) for seed, values in found.items()}


_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def student(freedom: int) -> float:
    """What 19 of 20 values of Student's t lie within."""
    return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96 + 2.5 / freedom
