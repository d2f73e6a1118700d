"""Which checkpoint the figures speak for, if they can tell at all: a suggestion, the eye decides.

Two checkpoints are held against each other picture by picture, on the same prompt and seed. A difference counts where
turning each of the differences round at random gives one as large in at most one of 30 cases (an exact sign-flip test),
and where no prompt says the opposite. One checkpoint is suggested only where it beats each of the others so.
"""

from __future__ import annotations

import itertools
import random
import shlex
from collections.abc import Mapping, Sequence
from statistics import fmean, median_low

from kohya_runner.compare.comparison import Suggestion
from kohya_runner.compare.metrics import Metric, Table, shown
from kohya_runner.text import counted

Row = tuple[int, int]  # a prompt and a seed


COPY = 0.985  # from here on a picture counts as a copy of a training picture
STILL = 0.01  # A drift below this is a LoRA that does nothing
COLLAPSED = 0.25  # below this share of the base model's diversity every seed gives nearly the same picture
LITTLE = 0.5  # below this share of the usual drift a checkpoint has learned too little to win
LEAST = 0.05  # what a figure is stretched over at least: less cannot be seen
MARGIN = 0.1  # points between the best and the next at least
CHANCE = 1 / 30
"""Weights that depend on the figures cost a little: so noise alone is suggested in at most one of 20 cases."""
FEWEST = 6  # pictures a checkpoint: five that all agree still do so by chance in one of 16 cases
ENOUGH = 8  # pictures a checkpoint that are asked for: one of them may disagree a little
EXACT = 12  # up to so many pictures all flips are tried, else ``FLIPS`` of them
FLIPS = 4000


def suggest(table: Table, labels: Sequence[str], candidates: Sequence[int], more: str = "") -> Suggestion:
    """The checkpoint that stands out of the noise, or why none does. ``more`` is how to paint what would tell."""
    drifts = [d for n in candidates if (d := table.columns[n].get("drift")) is not None]
    if not candidates:
        return Suggestion(None, "No checkpoint produced a picture.", verdict="nothing painted")
    if len(candidates) > 1 and drifts and max(drifts) < STILL:
        why = f"No checkpoint changes the base model's pictures by more than {max(drifts):.1%}."
        return Suggestion(None, why, verdict="no effect")
    unfit = {
        "of a copy of a training picture": [
            n for n in candidates if (table.columns[n].get("memorised") or 0.0) >= COPY
        ],
        "every seed gives nearly the same picture": _below(table, "diversity", COLLAPSED, candidates),
        "so little is learned (drift)": _below(table, "drift", LITTLE, candidates),
    }
    out = [n for numbers in unfit.values() for n in numbers]
    fair = [n for n in candidates if n not in out] or list(candidates)
    left = "".join(
        f" Left out because {why}: {_listed(numbers, labels)}."
        for why, numbers in unfit.items()
        if numbers and fair != list(candidates)
    )
    if len(fair) == 1:
        return Suggestion(
            fair[0], f"{labels[fair[0]]} is the only one{' left' if left else ''}.{left}", verdict="only one"
        )
    return _weighed(table, labels, fair, more, left)


def _weighed(table: Table, labels: Sequence[str], fair: Sequence[int], more: str, left: str) -> Suggestion:
    """Several that may win: does one stand out?"""
    metrics = [m for m in table.rows() if m.weight and any(table.columns[n].get(m.key) is not None for n in fair)]
    if not any(metric.weight > 0 for metric in metrics):  # the least bleed alone is the least learned
        why = "Cannot tell: none of these figures says which pictures are better: look."
        return Suggestion(None, why + left, verdict="no figure", tied=tuple(fair))
    same = all(len({shown(table.columns[n].get(m.key)) for n in fair}) == 1 for m in metrics)
    rows = _rows(table, fair)
    prompts, seeds = len({prompt for prompt, _ in rows}), sorted({seed for _, seed in rows})
    tied = tuple(fair)
    if min(prompts, len(seeds)) < 2 or len(rows) < FEWEST:
        first = "All figures are the same as far as they are shown: a tie" if same else "Cannot tell"
        why = f"{first}. {counted(prompts, 'prompt')} and {counted(len(seeds), 'seed')} do not show what is noise"
        return Suggestion(
            None, f"{why}: {more or wanted(('',) * prompts, seeds)}.{left}", verdict="too few pictures", tied=tied
        )
    points = _points(table, metrics, fair, rows)
    best = max(fair, key=lambda n: (round(fmean(points[n].values()), 6), -n))
    behind = [n for n in fair if n != best and _clear({r: points[best][r] - points[n][r] for r in rows})]
    means = tuple(fmean(points[n].values()) if n in fair else None for n in range(len(table.columns)))
    if len(behind) == len(fair) - 1:
        why = f"{labels[best]} stands out by {_told(table, labels, metrics, best, behind)}."
        return Suggestion(best, why + left, means, "stands out")
    tied = tuple(n for n in fair if n not in behind)
    alike = all(len({shown(table.columns[n].get(m.key)) for n in tied}) == 1 for m in metrics)
    verdict = "tie" if alike else "no clear difference"
    why = "have the same figures, as far as they are shown: a tie" if alike else "differ by no more than noise does"
    late = f" Clearly behind: {_listed(behind, labels)}." if behind else ""
    why = f"No clear difference: {_listed(tied, labels)} {why}.{late}{left}"
    return Suggestion(None, why, means, verdict, tied)


def _below(table: Table, key: str, share: float, candidates: Sequence[int]) -> list[int]:
    """The columns whose figure is below a share of the base model's, else of the usual one."""
    known = {n: value for n, column in enumerate(table.columns) if (value := column.get(key)) is not None}
    usual = median_low([v for n, v in known.items() if n not in candidates] or known.values() or (0.0,))
    return [n for n in candidates if known.get(n, usual) < share * usual]


def _rows(table: Table, fair: Sequence[int]) -> list[Row]:
    """The prompts and seeds that every column has."""
    held = [{(prompt, seed) for prompt, _, seed in table.cells[n]} for n in fair] if table.cells else []
    return sorted(set.intersection(*held)) if held else []


def _points(
    table: Table, metrics: Sequence[Metric], fair: Sequence[int], rows: Sequence[Row]
) -> dict[int, dict[Row, float]]:
    """What each picture is worth: its figures, each stretched over the columns or over twice its noise, weighed."""
    points = {n: dict.fromkeys(rows, 0.0) for n in fair}
    for metric in metrics:
        told = [table.columns[n].get(metric.key) or 0.0 for n in fair]
        span = max(max(told) - min(told), 2 * (table.floors.get(metric.key) or 0.0), LEAST)
        for row in rows:
            values = [v for n in fair if (v := _value(table.cells[n], metric.key, row)) is not None]
            for n, value in zip(fair, values, strict=True) if len(values) == len(fair) else ():
                points[n][row] += metric.weight * (value - (min if metric.weight > 0 else max)(told)) / span
    return points


def _value(cells: Mapping[tuple[int, str, int], Mapping[str, float | None]], key: str, row: Row) -> float | None:
    """One figure of one prompt and seed, the mean over the samplers."""
    found = [
        v for (prompt, _, seed), told in cells.items() if (prompt, seed) == row and (v := told.get(key)) is not None
    ]
    return fmean(found) if found else None


def clear_best(table: Table, metric: Metric, columns: Sequence[int]) -> int | None:
    """The column whose figure is clearly better than that of each of the others; None where noise may do as much."""
    told = {n: v for n in columns if (v := table.columns[n].get(metric.key)) is not None}
    if not metric.weight or len(told) < 2:
        return None
    best = max(told, key=lambda n: told[n] * metric.weight)
    rows, floor = _rows(table, list(told)), table.floors.get(metric.key)
    for n, value in told.items():
        pairs = {r: (_value(table.cells[best], metric.key, r), _value(table.cells[n], metric.key, r)) for r in rows}
        apart = {r: (a - b) * metric.weight for r, (a, b) in pairs.items() if a is not None and b is not None}
        alike = floor is None or abs(told[best] - value) <= floor or shown(told[best]) == shown(value)
        if n != best and (alike or not _clear(apart, 0)):
            return None
    return best


def _clear(differences: Mapping[Row, float], margin: float = MARGIN) -> bool:
    """Whether they are above 0 by more than chance, by enough, and in no prompt below it."""
    prompts: dict[int, float] = {}
    for (prompt, _), value in differences.items():
        prompts[prompt] = prompts.get(prompt, 0.0) + value
    values = list(differences.values())
    total = sum(values)
    if total < margin * len(values) or min(prompts.values(), default=-1) < 0:
        return False
    if len(values) <= EXACT:
        signs = itertools.product((1, -1), repeat=len(values))
    else:
        dice = random.Random(0)  # noqa: S311 - the same answer each time
        signs = (dice.choices((1, -1), k=len(values)) for _ in range(FLIPS))  # type: ignore[assignment]
    turned = [abs(sum(s * v for s, v in zip(flip, values, strict=True))) >= total - 1e-9 for flip in signs]
    return sum(turned) <= CHANCE * len(turned)


def _told(table: Table, labels: Sequence[str], metrics: Sequence[Metric], best: int, behind: Sequence[int]) -> str:
    """``edge hardness 0.81 (next: epoch 2 with 0.45; noise 0.04)``: every figure that is clearly the best."""
    said = []
    for metric in metrics:
        values = {n: v for n in (best, *behind) if (v := table.columns[n].get(metric.key)) is not None}
        if best not in values or len(values) < 2:
            continue
        second = max((n for n in behind if n in values), key=lambda n: values[n] * metric.weight)
        if clear_best(table, metric, (best, *behind)) == best:
            noise = shown(table.floors[metric.key])
            figure = f"{metric.title} {shown(values[best])}"
            said.append(f"{figure} (next: {labels[second]} with {shown(values[second])}; noise {noise})")
    return "; ".join(said) or "the sum of its figures, none of which does alone"


def _listed(columns: Sequence[int], labels: Sequence[str]) -> str:
    return ", ".join(labels[n] for n in columns)


def wanted(prompts: Sequence[str], seeds: Sequence[int], captions: Sequence[str] = ()) -> str:
    """The options that paint enough pictures to tell; those that are there already are kept."""
    lacking = max(2, -(-ENOUGH // max(2, len(prompts)))) - len(seeds)
    last = max(seeds, default=41)
    named = (*seeds, *range(last + 1, last + 1 + lacking))
    other = next((text for text in captions if text not in prompts), "ANOTHER PROMPT")
    texts = (*prompts, other) if len(prompts) < 2 else ()
    options = (f"--seeds {','.join(map(str, named))}", *(f"--prompt {shlex.quote(text)}" for text in texts))
    return f"compare again with {' '.join(options)}"
