"""What the guards of a run know, folded from the trainer's words and looks at disk and memory; when its budget ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kohya_runner.diagnosis.events import Event, Phase, Step
from kohya_runner.diagnosis.progress import TRAINING
from kohya_runner.recipe.finish import Guard
from kohya_runner.record.record import SavedCheckpoint
from kohya_runner.run.observers import Observer, Stop
from kohya_runner.run.recorder import Recorder

WINDOW = 100
"""Values of the trainer's mean loss that are averaged once more: with few batches an epoch it jumps about."""
PACES = 51


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A state folder of this run; ``complete`` once its last file is there."""

    path: Path
    written: float
    bytes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Readings:
    """Disk and memory at one moment; None is what cannot be known. ``log`` and ``output`` are sizes in bytes."""

    log: int = 0
    output: int = 0
    free: int | None = None
    writing: bool = False  # a checkpoint or state is not whole yet
    states: tuple[StateFolder, ...] = ()
    memory: tuple[int, int] | None = None  # available, of how much


@dataclass(frozen=True, slots=True)
class Trend:
    """The smoothed loss: ``over`` is the step since which it has been too far above the best."""

    recent: tuple[float, ...] = ()
    best: float | None = None
    smoothed: float | None = None
    over: int | None = None

    def with_loss(self, loss: float, step: int, factor: float) -> Trend:
        recent = (*self.recent[-WINDOW + 1 :], loss)
        if len(recent) < WINDOW:
            return replace(self, recent=recent)
        smoothed = math.fsum(recent) / WINDOW
        best = smoothed if self.best is None else min(self.best, smoothed)
        over = (self.over if self.over is not None else step) if smoothed > factor * best else None
        return Trend(recent, best, smoothed, over)


@dataclass(frozen=True, slots=True)
class GuardState:
    """All that is known now. Times are of one clock that never goes back, in seconds."""

    policy: Guard = field(default_factory=Guard)
    now: float = 0.0
    phase: str = "starting the trainer"
    since: float = 0.0  # the last sign that something goes on
    step: int = 0
    steps_heard: int = 0
    paces: tuple[float, ...] = ()
    loss: float | None = None
    bad_step: int | None = None  # the first whose loss was no finite number
    bad_since: float = 0.0
    trend: Trend = Trend()
    look: Readings = Readings()
    short: int = 0  # looks in a row without room for the next save
    save_bytes: int = 0  # expected, before the first save shows it
    checkpoints: tuple[SavedCheckpoint, ...] = ()

    @property
    def training(self) -> bool:
        """Whether the steps are under way, so that only steps and bars count as going on."""
        return self.phase == TRAINING

    @property
    def next_save(self) -> int:
        """Bytes the next save will take: the largest so far, else what the plan expects."""
        file = max((c.bytes for c in self.checkpoints if c.complete), default=0)
        folder = max((s.bytes for s in self.look.states if s.complete), default=0)
        return file + folder if file else self.save_bytes

    @property
    def needed(self) -> int:
        """The next save, a tenth on top, and a little for log and record."""
        return self.next_save + self.next_save // 10 + (1 << 20)

    @property
    def lacks_room(self) -> bool:
        """Whether the next save does not fit. While one is written the free space says nothing."""
        free = self.look.free
        return free is not None and not self.look.writing and self.next_save > 0 and free < self.needed


def after_event(state: GuardState, event: Event, now: float) -> GuardState:
    """After the trainer said something; a bar that shows the same step again is no progress."""
    match event:
        case Phase():
            return replace(state, now=now, since=now, phase=event.name)
        case Step() if event.step == state.step and event.loss is None:
            return replace(state, now=now)
        case Step():
            return _stepped(state, event, now)
        case _:
            return replace(state, now=now, since=now)


def after_readings(state: GuardState, look: Readings, now: float) -> GuardState:
    """After a look: what is written counts as going on; what is only said does not, once the steps are under way."""
    alive = look.output != state.look.output or (not state.training and look.log != state.look.log)
    after = replace(state, now=now, since=now if alive else state.since, look=look)
    return replace(after, short=state.short + 1 if after.lacks_room and after.training else 0)


def _stepped(state: GuardState, event: Step, now: float) -> GuardState:
    moved = event.step != state.step
    paces = state.paces
    if moved and event.seconds_per_step:
        paces = (*paces[-PACES + 1 :], event.seconds_per_step)
    after = replace(
        state,
        now=now,
        since=now if moved else state.since,
        step=event.step,
        steps_heard=state.steps_heard + moved,
        paces=paces,
        loss=state.loss if event.loss is None else event.loss,
    )
    diverged = state.policy.diverged
    if event.loss is not None and not math.isfinite(event.loss):
        return replace(after, bad_step=event.step, bad_since=now) if state.bad_step is None else after
    if event.loss is None or diverged is None or event.loss < 0:
        return after
    return replace(after, trend=state.trend.with_loss(event.loss, event.step, diverged.factor))


HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Deadline:
    after: float
    stop: Stop


def deadline(budget: Mapping[str, Any]) -> Deadline | None:
    """The earlier of the two limits; None where there is none."""
    hours, cost, price = (_positive(budget.get(key)) for key in ("max_hours", "max_cost", "price_per_hour"))
    found = []
    if hours is not None:
        stop = Stop("budget.hours", f"budget.max_hours: {hours:g} hours are over")
        found.append(Deadline(hours * HOUR, stop))
    if cost is not None and price is not None:
        stop = Stop("budget.cost", f"budget.max_cost: {cost:g} is spent, at {price:g} an hour")
        found.append(Deadline(cost / price * HOUR, stop))
    return min(found, key=lambda limit: limit.after, default=None)


def _positive(value: object) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and value > 0 else None  # type: ignore[arg-type, operator]


class BudgetWatch(Observer):
    """Asks for the end of a run that has spent its budget. The sentinel does the same where the runner is gone."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def tick(self) -> Stop | None:
        record = self._recorder.now
        limit, gone = deadline(record.budget), record.timings.gone
        return limit.stop if limit and gone is not None and gone >= limit.after else None
