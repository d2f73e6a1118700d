"""What each paid minute of a run went to, from the first command on the machine to the end of what came after it.

The clock is that of ``record.json``, ``attempts.json`` and ``metrics.jsonl``. Time between two attempts is not counted:
nobody here knows whether the machine was paid for meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.diagnosis.progress import PAID_FOR, TRAINING
from kohya_runner.record import attempts
from kohya_runner.record.metrics_file import Metrics
from kohya_runner.record.record import LIVE, Record
from kohya_runner.text import duration

SET_UP, DOWNLOAD, PAINTING, IDLE = "set-up", "download", "painting", "idle"
ORDER = (SET_UP, DOWNLOAD, "caching", "building the network", TRAINING, "saving", PAINTING, IDLE)
SILENCE, PACES = 120.0, 5  # seconds, and times the usual pace: a longer gap between two steps is not training
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Spending:
    """Seconds by purpose, in the order of ``ORDER``, and the price of an hour where it is known."""

    seconds: Mapping[str, float]
    price: float | None = None

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @property
    def share(self) -> float | None:
        """Of the training, 0 to 1."""
        return self.seconds.get(TRAINING, 0.0) / self.total if self.total else None

    def money(self, seconds: float) -> str:
        """``, 0.12``; "" without a price."""
        return "" if self.price is None else f", {self.price * seconds / 3600:.2f}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """(label, text) for the screen."""
        if self.share is None:
            return
        parts = (f"{name} {duration(s)}{self.money(s)}" for name, s in self.seconds.items())
        yield "spent", f"{duration(self.total)}{self.money(self.total)}; {self.share:.0%} of it was training"
        yield "spent on", "; ".join(parts)

    def as_json(self) -> Mapping[str, object]:
        """The object ``spending`` of ``status --json``."""
        costs = {} if self.price is None else {n: self.price * s / 3600 for n, s in self.seconds.items()}
        return {"seconds": dict(self.seconds), "total_seconds": self.total, "training_share": self.share,
                "price_per_hour": self.price, "cost": costs or None}  # fmt: skip


def spending(run_dir: Path, record: Record, metrics: Metrics, *, state: str, now: float | None = None) -> Spending:
    """Of all attempts of a run; ``state`` is how it stands now."""
    live = state in LIVE
    last = max([record.timings.ended or 0.0, *(s.t for s in metrics.steps[-1:]), *(m.t for m in metrics.marks[-1:])])
    end = (now or time.time()) if live else last
    moments = sorted(_moments(run_dir, record, metrics), key=lambda moment: moment[0])
    found = dict.fromkeys(ORDER, 0.0)
    for (t, what), (after, _) in zip(moments, [*moments[1:], (end, "")], strict=False):
        if what:
            found[what] += max(0.0, after - t)
    loaded = min(record.timings.fetching, found[SET_UP])
    silent = min(_silence(metrics), found[TRAINING])
    for source, target, seconds in ((SET_UP, DOWNLOAD, loaded), (TRAINING, IDLE, silent)):
        found[source] -= seconds
        found[target] += seconds
    for what, seconds in _afterwards(record):
        found[what] += seconds
    return Spending({name: round(seconds, 1) for name, seconds in found.items() if seconds >= 0.05}, price_of(record))


def _moments(run_dir: Path, record: Record, metrics: Metrics) -> Iterator[tuple[float, str]]:
    """(when, what begins): "" is nothing that is paid for."""
    known = attempts.read(run_dir).attempts
    for attempt in known:
        yield attempt.queued, SET_UP
        if attempt.ended:
            yield attempt.ended, ""
    times = record.timings
    if times.queued and times.began and 0 < times.queued - times.began < DAY:
        yield times.began, SET_UP
        if times.installed and times.began <= times.installed <= times.queued:
            yield times.installed, DOWNLOAD
    if times.queued and not known:
        yield times.queued, SET_UP
    for mark in metrics.marks:
        if mark.kind in ("phase", "begins"):
            yield mark.t, PAID_FOR.get(mark.name, SET_UP) if mark.kind == "phase" else TRAINING


def _silence(metrics: Metrics) -> float:
    """Seconds of the gaps between two steps in which the trainer did nothing that it told of."""
    paces = sorted(one.seconds_per_step for one in metrics.steps if one.seconds_per_step)
    longest = max(SILENCE, PACES * paces[len(paces) // 2]) if paces else SILENCE
    marks = [mark.t for mark in metrics.marks]
    pairs = [(a.t, b.t) for a, b in zip(metrics.steps, metrics.steps[1:], strict=False) if not (a.late or b.late)]
    gaps = [(a, b) for a, b in pairs if b - a > longest and not any(a < t < b for t in marks)]
    return sum(b - a for a, b in gaps)


def _afterwards(record: Record) -> Iterator[tuple[str, float]]:
    """The comparison paints; what else is waited for before the pod is stopped is idle."""
    before = record.timings.ended
    for done in record.after:
        at = done.get("at")
        if before is None or not isinstance(at, (int, float)) or not 0 <= at - before < DAY:
            return
        yield (PAINTING if done.get("action") == "compare" else IDLE), at - before
        before = float(at)


def price_of(record: Record | None) -> float | None:
    """An hour of the machine, as the recipe says."""
    budget = record.recipe.get("budget") if record else None
    value = budget.get("price_per_hour") if isinstance(budget, dict) else None
    value = value.get("value") if isinstance(value, dict) else value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
