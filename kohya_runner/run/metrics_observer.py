"""Measures a run while it goes on, into ``metrics.jsonl``.

The file stays small however long the run is: a step gets a line at the earliest half a second after the last one, and
in a long run at the earliest a 20,000th of the run's age after it; so a day has about 60,000 lines (6 MB), a month
twice that. The last step before a phase, an epoch or a checkpoint always gets its line, and so does the first loss that
is no number.

Learning rates are known only where the trainer logs them to TensorBoard (``args.log_with: tensorboard``). Without it
they are unknown, and not made up from the schedule.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Event, Phase, Step
from kohya_runner.record.metrics_file import Appender, Metrics, Reader
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run.event_files import MARK, EventFile, Scalar
from kohya_runner.run.recorder import Recorder

CLOSEST = 0.5  # seconds between two lines of steps
SHARE = 20_000  # and this part of the run's age
HEARTBEAT = 10.0
SCALARS_EVERY = 1.0
MOST_FILES = 32
LOSSES = frozenset({"loss/current", "loss"})
"""Tags of a step's own loss (train_network.py:86, sdxl_train.py:822); the others are means or validation."""


@dataclass(slots=True)
class _Waiting:
    """A step that has no line yet, and when it was seen."""

    event: Step
    t: float
    clock: float


class MetricsRecorder:
    """An observer. What an earlier runner wrote before it was killed is not written again when the log is read anew."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._file = Appender(RunPaths(recorder.run_dir).metrics)
        self._known = Reader(RunPaths(recorder.run_dir).metrics).look()
        self._late = bool(self._known.steps or self._known.marks)
        self._phases = len(self._known.of("phase"))
        self._last_step = max((one.step for one in self._known.steps if one.elapsed is not None), default=-1)
        self._last_clock = -math.inf
        self._finite = True
        self._epoch: int | None = None
        self._waiting: _Waiting | None = None
        self._rates = _Rates(RunPaths(recorder.run_dir).tensorboard, self._known)
        self._touched = self._looked = 0.0

    def event(self, event: Event) -> None:
        match event:
            case Step() if event.step > 0:
                self._step(event)
            case Phase():
                self._phase(event.name)
            case Epoch():
                self._epoch = event.number
                self._mark({"begins": event.number, "of": event.total}, known="begins", word=str(event.number))
            case CheckpointStarted():
                self._mark({"checkpoint": event.path.name}, known="checkpoint", word=event.path.name)
            case _:
                pass

    def tick(self) -> None:
        """Write what waits; what comes from now on is seen as it happens."""
        now = time.monotonic()
        self._late = False
        if self._waiting and self._due(self._waiting.clock):
            self._write(self._waiting)
        if now - self._looked >= SCALARS_EVERY:
            self._looked = now
            for line in self._rates.lines(self._interval(time.time())):
                self._file.add(line)
        if now - self._touched >= HEARTBEAT:
            self._touched = now
            self._file.touch()

    def _step(self, event: Step) -> None:
        if self._late and event.step <= self._last_step:
            return
        before = self._waiting
        if before and before.event.step != event.step and (self._due(before.clock) or self._turns(before.event)):
            self._write(before)
        if event.step == self._last_step:  # the bar is drawn twice, before and after the loss is known
            return
        clock = event.elapsed if self._late and event.elapsed is not None else time.monotonic()
        self._waiting = _Waiting(event, time.time(), clock)

    def _due(self, clock: float) -> bool:
        return abs(clock - self._last_clock) >= self._interval(time.time())

    def _interval(self, now: float) -> float:
        return max(CLOSEST, (now - (self._recorder.now.timings.started or now)) / SHARE)

    def _turns(self, event: Step) -> bool:
        """Whether the loss ceases to be a number here, or is one again."""
        return event.loss is not None and math.isfinite(event.loss) != self._finite

    def _write(self, waiting: _Waiting) -> None:
        event = waiting.event
        self._waiting, self._last_step, self._last_clock = None, event.step, waiting.clock
        self._finite = self._finite if event.loss is None else math.isfinite(event.loss)
        speed = None if event.seconds_per_step is None else round(event.seconds_per_step, 4)
        loss = "unknown" if event.loss is None else event.loss
        line = {"step": event.step, "epoch": self._epoch, "loss": loss, "seconds_per_step": speed}
        self._add({**line, "elapsed": event.elapsed}, waiting.t)

    def _flush(self) -> None:
        if self._waiting:
            self._write(self._waiting)

    def _phase(self, name: str) -> None:
        self._flush()
        if self._late and self._phases > 0:
            self._phases -= 1
            return
        self._add({"phase": name}, time.time())

    def _mark(self, line: dict[str, Any], *, known: str, word: str) -> None:
        self._flush()
        names = {str(mark.epoch) if known == "begins" else mark.name for mark in self._known.of(known)}
        if not (self._late and word in names):
            step = max(self._last_step, 0)
            self._add({**line, "step": step, "epoch": None if known == "begins" else self._epoch}, time.time())

    def _add(self, line: dict[str, Any], t: float) -> None:
        self._file.add({"t": round(t, 2), **line, "late": True if self._late else None})


class _Rates:
    """Learning rates and the loss of each step, from the event files of the trainer."""

    def __init__(self, folder: Path, known: Metrics) -> None:
        self._folder = folder
        self._last = max((one.step for one in known.steps if one.lr), default=-1)
        self._last_t = -math.inf
        self._files: dict[Path, EventFile] = {}
        self._open: list[Scalar] = []

    def lines(self, interval: float) -> Iterator[dict[str, Any]]:
        """A line for each step that is complete, the last one once nothing was added to it for a second."""
        for path in _event_files(self._folder) if len(self._files) < MOST_FILES else ():
            self._files.setdefault(path, EventFile(path))
        for file in self._files.values():
            for scalar in file.read():
                if scalar.step <= self._last or not (scalar.tag in LOSSES or _rate_name(scalar.tag)):
                    continue
                if self._open and scalar.step != self._open[-1].step:
                    yield from self._line(interval)
                self._open.append(scalar)
        if self._open and time.time() - self._open[-1].t > SCALARS_EVERY:
            yield from self._line(interval)

    def _line(self, interval: float) -> Iterator[dict[str, Any]]:
        group, self._open = self._open, []
        t, step = group[-1].t, group[-1].step
        rates = {name: one.value for one in group if (name := _rate_name(one.tag))}
        if t - self._last_t < interval or not rates:
            return
        self._last, self._last_t = step, t
        current = next((one.value for one in reversed(group) if one.tag in LOSSES), None)
        yield {"t": round(t, 2), "step": step, "lr": _named(rates), "current": current}


def _rate_name(tag: str) -> str:
    return tag.removeprefix("lr/") if tag.startswith("lr/") else tag if tag == "lr" else ""


def _named(rates: dict[str, float]) -> dict[str, float]:
    """Without the numbered groups, which repeat the named ones (the ``else`` of the loop at train_network.py:107)."""
    named = {name: value for name, value in rates.items() if not name.rpartition("/")[2].startswith("group")}
    chosen = named if any(name != "textencoder" for name in named) else rates
    return {name: float(f"{value:.7g}") for name, value in chosen.items()}


def _event_files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in sorted(names) if MARK in name)
