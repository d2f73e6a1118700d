"""Whoever looks on while a trainer runs: hears what it says, and may ask for it to be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kohya_runner.diagnosis.events import Event
    from kohya_runner.run.outcome import Stop
    from kohya_runner.run.progress_lines import Screen
    from kohya_runner.run.recorder import Recorder


class Observer(Protocol):
    """What it raises does not touch the training: it is not called again, and the fault is in the outcome."""

    def event(self, event: Event) -> None:
        """Take in what the trainer said."""

    def tick(self) -> Stop | None:
        """Called at every look, several times a second; the first ``Stop`` of any observer stops the run."""


def observers(recorder: Recorder, screen: Screen) -> tuple[Observer, ...]:
    """Everybody who watches a run, launched or adopted: all they need to know is in its record.

    The recorder hears first, so that what the others read in the record is true.
    """
    from kohya_runner.run.guards.deadline import BudgetWatch
    from kohya_runner.run.guards.observer import Guardian
    from kohya_runner.run.metrics.observer import Meter
    from kohya_runner.run.progress_lines import Teller
    from kohya_runner.run.stopping.stop_request import Wishes

    return (
        recorder,
        Meter(recorder),
        Wishes(recorder),
        Teller(screen),
        Guardian(recorder, screen),
        BudgetWatch(recorder),
    )
