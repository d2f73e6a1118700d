"""How long a run spent with what, from its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.progress import TRAINING

if TYPE_CHECKING:
    from kohya_runner.record.metrics_file import Metrics
    from kohya_runner.record.record import Record


@dataclass(frozen=True, slots=True)
class Spent:
    """The seconds of one phase, and how often it came; ``sure`` is false where nobody watched a part of it."""

    phase: str
    seconds: float
    times: int
    sure: bool


def current(metrics: Metrics) -> str:
    """The phase that goes on; an epoch that begins is training."""
    for mark in reversed(metrics.marks):
        if mark.kind == "phase":
            return mark.name
        if mark.kind == "begins":
            return TRAINING
    return ""


def spent(metrics: Metrics, record: Record) -> tuple[Spent, ...]:
    """In the order in which they first came; the time before the trainer's start is ``preparing``."""
    timings = record.timings
    begins: list[tuple[float, str, bool]] = []
    if timings.queued:
        begins.append((timings.queued, "preparing", False))
    if timings.started:
        begins.append((timings.started, "starting the trainer", False))
    marks = (mark for mark in metrics.marks if mark.kind in ("phase", "begins"))
    begins += [(mark.t, mark.name if mark.kind == "phase" else TRAINING, mark.late) for mark in marks]
    last = max([timings.ended or 0.0, *(one.t for one in metrics.steps[-1:]), *(m.t for m in metrics.marks[-1:])])
    ends = [t for t, _, _ in begins[1:]] + [last]
    found: dict[str, Spent] = {}
    before = ""
    for (t, name, late), end in zip(begins, ends, strict=True):
        known = found.get(name, Spent(name, 0.0, 0, sure=True))
        again = name != before
        found[name] = Spent(name, known.seconds + max(0.0, end - t), known.times + again, known.sure and not late)
        before = name
    return tuple(found.values())
