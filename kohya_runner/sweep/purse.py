"""What a sweep may still spend: whether the next run is begun, and when the running one is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.errors import RunnerError
from kohya_runner.plan.cost import Speed
from kohya_runner.record.record import Record
from kohya_runner.run import stop_request
from kohya_runner.run.run_status import RunStatus, StatusReader
from kohya_runner.run.stop_request import When

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Purse:
    """The limits of the whole sweep; None: there is none."""

    price: float | None = None  # an hour of the machine
    max_cost: float | None = None
    max_hours: float | None = None

    @property
    def seconds(self) -> float | None:
        money = None if self.max_cost is None or self.price is None else self.max_cost / self.price
        return min((hours * 3600 for hours in (money, self.max_hours) if hours is not None), default=None)

    def said(self, seconds: float) -> str:
        from kohya_runner.text import duration

        return duration(seconds) + ("" if self.price is None else f" ({self.price * seconds / 3600:.2f})")


def slowest(records: Sequence[Record]) -> Speed | None:
    """Of the runs of this sweep, with the set-up; of those that succeeded with the end, too. Not too low a forecast."""
    found = []
    for one in records:
        times, steps = one.timings, one.steps_seen - one.first_step - 1
        if times.first_step is None or steps < 1:
            continue
        whole = one.state == "succeeded" and times.ended is not None
        pace = ((times.ended or 0.0) - times.first_step) / steps if whole else times.seconds_per_step
        if pace:
            setup = 0.0 if times.queued is None else times.first_step - times.queued
            found.append(Speed(pace, setup, one.name))
    return max(found, key=lambda speed: speed.seconds_per_step, default=None)


def save_steps(steps: StepsPlan) -> tuple[int, ...]:
    """After which steps something is saved."""
    at = {"step": 1, "epoch": steps.steps_per_epoch}
    saves = {e.number * at[e.after] for e in steps.saves.events if e.after in at and not e.removed}
    return tuple(sorted({*(step for step in saves if step < steps.total), steps.total}))


def due(look: RunStatus, saves: Sequence[int], left: float) -> When | None:
    """How to stop now, so that the last save that the purse pays for is the last thing that is done.

    ``left`` are the seconds that this run may still use.
    """
    pace = look.seconds_per_step
    ahead = [step for step in saves if step > look.step][:2]
    if not pace or look.step < 2 or not ahead:
        return None
    first, *second = [(step - look.step) * pace <= left for step in ahead]
    if not first:
        return "after-step"
    return "after-save" if second == [False] else None


class PurseWatch(threading.Thread):
    """Looks at a run while it goes on, and asks it to stop in time: ``ask`` is how, once ``asked``."""

    def __init__(
        self, run_dir: Path, saves: Sequence[int], seconds: float | None, ask: Callable[[RunStatus, When], object]
    ) -> None:
        """``seconds``: what the run may use from now on; None: as much as it needs."""
        super().__init__(daemon=True)
        self.run_dir, self.saves, self.ask = run_dir, saves, ask
        self.until = float("inf") if seconds is None else time.monotonic() + seconds
        self.asked = False
        self.over = threading.Event()

    def run(self) -> None:
        reader = StatusReader(self.run_dir)
        while not self.over.wait(LOOK_SECONDS):
            look = reader.look()
            when = due(look, self.saves, self.until - time.monotonic())
            if when is not None and look.view.record is not None and look.view.record.state == "running":
                with suppress(RunnerError):  # no answer: asked again at the next look
                    self.ask(look, when)
                    self.asked = True
                    return


def ask_here(look: RunStatus, when: When) -> None:
    """Of a run of this machine."""
    attempt = look.view.record.attempt if look.view.record else 1
    stop_request.write(look.view.path, stop_request.escalated(look.stop_request, when, time.time(), attempt))
