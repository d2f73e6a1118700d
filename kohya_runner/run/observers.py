"""Whoever has to do with a run beside its trainer: who looks on, who is told, and what follows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kohya_runner.diagnosis import events
from kohya_runner.diagnosis.progress import SAVING, TRAINING
from kohya_runner.record.record import Record
from kohya_runner.run.recorder import Recorder
from kohya_runner.text import duration


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run should not go on: a short name for programs, such as ``loss.nan``, and a sentence for a person."""

    code: str
    why: str


class Observer(Protocol):
    """What it raises does not touch the training: see ``Watch``; the fault is a note in the record."""

    def event(self, event: events.Event) -> None:  # noqa: ARG002 - an observer may do without
        """Take in what the trainer said."""
        return

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
    from kohya_runner.run.guards.observer import GuardObserver
    from kohya_runner.run.guards.state import BudgetWatch
    from kohya_runner.run.metrics_observer import MetricsRecorder
    from kohya_runner.run.stop_request import StopRequests

    return (
        recorder,
        MetricsRecorder(recorder),
        StopRequests(recorder),
        ProgressLines(screen),
        GuardObserver(recorder, screen),
        BudgetWatch(recorder),
    )


IN_PASSING = (TRAINING, SAVING)
"""Phases that lines of their own announce: the steps, and each checkpoint by its name."""


class ProgressLines:
    """Puts the trainer's events into lines."""

    def __init__(self, screen: Reporter) -> None:
        self.screen = screen
        self.phase = "starting the trainer"
        self.since = time.monotonic()
        self.epoch = ""
        self.work = ""

    def event(self, event: events.Event) -> None:
        lasting = self._lasting(event)
        if lasting:
            self.screen.event(lasting, lasting=True)
        elif isinstance(event, events.Step):
            self.work = ""
            self.screen.event(self._step(event), lasting=False)

    def _lasting(self, event: events.Event) -> str:
        """The line that stays, "" for none."""
        line = ""
        match event:
            case events.Phase():
                self.phase, self.since, self.work = event.name, time.monotonic(), ""
                line = "" if event.name in IN_PASSING else event.name
            case events.OtherBar():
                self.work = f"{event.done}/{event.total}"
            case events.Epoch():
                line = f"epoch {event.number}/{event.total}"
                self.epoch, self.phase = f"{line}  ", TRAINING
            case events.CheckpointStarted():
                line = f"saving {event.path.name}"
            case events.ModulesMade() if not event.enabled:
                line = f"{event.number} LoRA modules for {event.what}"
            case events.Fact(name="total"):
                line = f"{event.value} steps in all"
            case events.NoData():
                line = "the trainer found no data"
            case _:
                pass
        return line

    def _step(self, event: events.Step) -> str:
        parts = [f"{self.epoch}step {event.step}/{event.total}"]
        if event.loss is not None:
            parts.append(f"loss {event.loss:.4f}" if math.isfinite(event.loss) else f"loss {event.loss}")
        if event.seconds_per_step:
            parts.append(f"{event.seconds_per_step:.2f} s/step")
        if event.remaining is not None:
            parts.append(f"{duration(event.remaining)} left")
        return ", ".join(parts)

    def tick(self) -> None:
        """Show that time passes where the trainer says nothing."""
        if self.phase != TRAINING:
            waited = time.monotonic() - self.since
            work = f" {self.work}" if self.work else ""
            self.screen.event(f"{self.phase}{work}, {duration(waited)}", lasting=False)
