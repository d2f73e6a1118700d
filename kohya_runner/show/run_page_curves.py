"""The curves of a run's page: the loss, and the learning rates where they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.show.charts import Chart, Curve, Marks, chart
from kohya_runner.show.curves import smoothed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kohya_runner.record.metrics_file import Metrics
    from kohya_runner.record.record import Record

SIZES = ((1100, 320), (400, 260))
"""Each picture for a wide and for a narrow window: letters that shrink with the picture could not be read."""
MOST_RATES = 8


def loss_charts(metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    """The trainer's running mean and, where its events were kept, the loss of each step, smoothed."""
    mean = Curve("running mean", tuple((float(s.step), s.loss) for s in metrics.steps if s.loss is not None))
    own = [(float(s.step), s.current) for s in metrics.steps if s.current is not None]
    curves = [mean]
    if own:
        curves += [Curve("each step", tuple(own), faint=True), Curve("each step, smoothed", tuple(smoothed(own)))]
    return _both(curves, metrics, record) if mean.points or own else ()


def rate_charts(metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    """The learning rates by the trainer's names for them."""
    names = list(dict.fromkeys(name for step in metrics.steps for name in step.lr))[:MOST_RATES]
    curves = [Curve(name, tuple((float(s.step), s.lr[name]) for s in metrics.steps if name in s.lr)) for name in names]
    return _both(curves, metrics, record) if curves else ()


def _both(curves: Sequence[Curve], metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    marks = Marks(
        epochs=[(mark.step or 0, mark.epoch or 0) for mark in metrics.of("begins")],
        saves=[(mark.step or 0, mark.name) for mark in metrics.of("checkpoint")],
        total=record.steps_planned,
    )
    found = [chart(curves, marks, width, height) for width, height in SIZES]
    return tuple(one for one in found if one is not None)
