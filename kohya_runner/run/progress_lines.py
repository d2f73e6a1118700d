"""What the person is told while the trainer runs: one line at a time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.events import (
    CheckpointStarted,
    Epoch,
    Event,
    Fact,
    ModulesMade,
    NoData,
    OtherBar,
    Phase,
    Step,
)
from kohya_runner.diagnosis.progress import SAVING, TRAINING
from kohya_runner.text import duration

if TYPE_CHECKING:
    from kohya_runner.run.observers import Reporter

IN_PASSING = (TRAINING, SAVING)
"""Phases that lines of their own announce: the steps, and each checkpoint by its name."""


class ProgressLines:
    """Puts the trainer's events into lines."""

    def __init__(self, screen: Reporter) -> None:
        """Lines go to ``screen``."""
        self.screen = screen
        self.phase = "starting the trainer"
        self.since = time.monotonic()
        self.epoch = ""
        self.work = ""

    def event(self, event: Event) -> None:
        """Take in one event."""
        lasting = self._lasting(event)
        if lasting:
            self.screen.event(lasting, lasting=True)
        elif isinstance(event, Step):
            self.work = ""
            self.screen.event(self._step(event), lasting=False)

    def _lasting(self, event: Event) -> str:
        """The line that stays, "" for none."""
        line = ""
        match event:
            case Phase():
                self.phase, self.since, self.work = event.name, time.monotonic(), ""
                line = "" if event.name in IN_PASSING else event.name
            case OtherBar():
                self.work = f"{event.done}/{event.total}"
            case Epoch():
                line = f"epoch {event.number}/{event.total}"
                self.epoch, self.phase = f"{line}  ", TRAINING
            case CheckpointStarted():
                line = f"saving {event.path.name}"
            case ModulesMade() if not event.enabled:
                line = f"{event.number} LoRA modules for {event.what}"
            case Fact(name="total"):
                line = f"{event.value} steps in all"
            case NoData():
                line = "the trainer found no data"
            case _:
                pass
        return line

    def _step(self, event: Step) -> str:
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
