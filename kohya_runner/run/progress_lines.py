"""What the person is told while the trainer runs: one line at a time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from kohya_runner.diagnosis.events import Checkpoint, Epoch, Event, Fact, Modules, NoData, Phase, Step, Work
from kohya_runner.diagnosis.progress import SAVING, TRAINING
from kohya_runner.text import duration

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 1 << 18
IN_PASSING = (TRAINING, SAVING)
"""Phases that lines of their own announce: the steps, and each checkpoint by its name."""


class Screen(Protocol):
    """Whatever shows lines."""

    def event(self, line: str, *, lasting: bool) -> None:
        """Show a line; one that is not lasting may be overwritten by the next."""


class Teller:
    """Puts the trainer's events into lines."""

    def __init__(self, screen: Screen) -> None:
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
            case Work():
                self.work = f"{event.done}/{event.total}"
            case Epoch():
                line = f"epoch {event.number}/{event.total}"
                self.epoch, self.phase = f"{line}  ", TRAINING
            case Checkpoint():
                line = f"saving {event.path.name}"
            case Modules() if not event.enabled:
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


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log; of a bar that was redrawn only its last state."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in data.decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line][-count:] if count else [line for line in lines if line]
