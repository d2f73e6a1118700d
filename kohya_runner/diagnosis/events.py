"""What the trainer says while it runs, as values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.record.record import DoneBefore


@dataclass(frozen=True, slots=True)
class Phase:
    """What the trainer does from now on; the names are those of ``progress.PHASES``."""

    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """The bar of the optimizer's steps. Times in seconds; None: the bar does not show it yet."""

    step: int
    total: int
    seconds_per_step: float | None
    elapsed: float | None
    remaining: float | None
    loss: float | None  # the trainer's running mean; NaN is a value


@dataclass(frozen=True, slots=True)
class OtherBar:
    """Any other bar: caching, validation, loading. ``what`` is its label, often empty."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch begins; the first is 1."""

    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that the trainer prints before it trains, named as in ``StepsPlan``."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class ModulesMade:
    """How many LoRA modules were made; with ``enabled``, how many of them are trained and saved."""

    what: str
    number: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class CheckpointStarted:
    """The trainer begins to write this file or folder."""

    path: Path


@dataclass(frozen=True, slots=True)
class CheckpointRemoved:
    """The trainer removes this checkpoint (``save_last_n_epochs``, ``save_last_n_steps``)."""

    path: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """``model saved.``, the last line of a run that came to its end."""


@dataclass(frozen=True, slots=True)
class NoData:
    """``No data found``: the trainer ends now, with exit code 0."""


Event = Phase | Step | OtherBar | Epoch | Fact | ModulesMade | CheckpointStarted | CheckpointRemoved | Finished | NoData


class Numbering:
    """Numbers the events of one attempt in the whole run, and adds the epochs that a trainer does not announce."""

    def __init__(self, before: DoneBefore) -> None:
        self._before = before
        self._epoch = 0

    def numbered(self, event: Event) -> Iterator[Event]:
        """The event, and before it the epoch that begins with it."""
        seen, each = continued(event, self._before), self._before.steps_per_epoch
        if isinstance(seen, Step) and seen.step and each:
            epoch = (seen.step - 1) // each + 1
            if epoch > self._epoch:
                self._epoch = epoch
                yield Epoch(epoch, math.ceil((self._before.planned or seen.total) / each))
        yield seen


def continued(event: Event, before: DoneBefore) -> Event:
    """An event of a resumed run in the numbers of the whole run: the trainer's bar begins at 0 again.

    sd-scripts' bar still counts to the run's whole number (train_network.py:1523), so its time left is too long;
    other scripts count what is left.
    """
    match event:
        case Step() if before.steps:
            return _step(event, before)
        case Epoch() if before.epochs:
            return replace(event, number=event.number + before.epochs, total=event.total + before.epochs)
        case Fact(name="total") if event.value + before.steps == before.planned:
            return replace(event, value=before.planned)
        case _:
            return event


def _step(event: Step, before: DoneBefore) -> Step:
    if before.planned is not None and event.total + before.steps <= before.planned:
        return replace(event, step=event.step + before.steps, total=event.total + before.steps)
    bar = event.total - event.step
    left = None if event.remaining is None or bar <= 0 else event.remaining * max(bar - before.steps, 0) / bar
    return replace(event, step=event.step + before.steps, remaining=left)
