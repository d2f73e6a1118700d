"""Whoever has to do with a run beside its trainer: who looks on, who is told, and what follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kohya_runner.diagnosis.events import Event
    from kohya_runner.record.record import Record
    from kohya_runner.run.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run should not go on: a short name for programs, such as ``loss.nan``, and a sentence for a person."""

    code: str
    why: str


class Observer(Protocol):
    """What it raises does not touch the training: see ``Watch``; the fault is a note in the record."""

    def event(self, event: Event) -> None:
        """Take in what the trainer said."""

    def tick(self) -> Stop | None:
        """Called at every look, several times a second; the first ``Stop`` of any observer stops the run."""


class Reporter(Protocol):
    """Whatever shows a person lines about a run."""

    def event(self, line: str, *, lasting: bool) -> None:
        """Show a line; one that is not lasting may be overwritten by the next."""

    def notice(self, line: str) -> None:
        """Show a line that stays, also to a person who asked for JSON."""


@dataclass(frozen=True, slots=True)
class AfterRun:
    """What happens beside and after a run. The commands hand it in, so that ``run`` knows none of it.

    ``guard`` starts, before the trainer, whatever must outlive this process. ``conclude`` is called with the lock
    released; it returns the record with what was done, and reads the record itself where none is given.
    """

    guard: Callable[[Path, Record, Mapping[str, str]], None]
    conclude: Callable[[Path, Reporter, Mapping[str, str], Record | None], Record]


def observers(recorder: Recorder, screen: Reporter) -> tuple[Observer, ...]:
    """Everybody who watches a run, launched or adopted: all they need to know is in its record.

    The recorder hears first, so that what the others read in the record is true.
    """
    from kohya_runner.run.guards.deadline import BudgetWatch
    from kohya_runner.run.guards.observer import GuardObserver
    from kohya_runner.run.metrics_observer import MetricsRecorder
    from kohya_runner.run.progress_lines import ProgressLines
    from kohya_runner.run.stopping.stop_request import StopRequests

    return (
        recorder,
        MetricsRecorder(recorder),
        StopRequests(recorder),
        ProgressLines(screen),
        GuardObserver(recorder, screen),
        BudgetWatch(recorder),
    )
