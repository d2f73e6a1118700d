"""``metrics.jsonl``: what a run measured, one JSON object a line, only ever appended to.

A line is written whole by one call; a line that a crash or a full disk cut is ended by the next writer and passed over
by every reader. Each line has ``t`` (seconds since 1970) and is one of:

    {"t", "step", "epoch", "loss", "seconds_per_step", "elapsed"}    a step, as the trainer's bar shows it
    {"t", "step", "lr": {...}, "current"}                            the same step, as its TensorBoard events have it
    {"t", "phase"}     {"t", "begins", "of", "step"} (an epoch)     {"t", "checkpoint", "step", "epoch"}

``loss`` is the trainer's running mean, ``current`` the loss of that step alone: a number, "nan", "inf", "-inf", or
"unknown" before the bar shows one. ``elapsed`` is the bar's own clock, in seconds.
``late`` marks what was read from the log after the fact, by a runner that adopted the run: its ``t`` is not the time it
happened.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import open_file, open_for_write

_PIECE = 1 << 20
_TAIL_BYTES = 1 << 18


class Tail:
    """Reads what was appended. The file need not be there yet; one that became shorter is read from its beginning.

    It is held open: who writes it goes on in the same file when its name is removed or given to another. ``held``: that
    other file is nobody's; otherwise it is read once nothing more comes from the first.
    """

    def __init__(self, path: Path, offset: int = 0, *, held: bool = False) -> None:
        self._path = path
        self._offset = offset
        self._held = held
        self._file: BinaryIO | None = None
        self._begun = b""

    def read(self) -> Iterator[bytes]:
        """What came since the last time, in pieces."""
        try:
            self._file = self._file or open_file(self._path)
            yield from self._rest(self._file)
            if not self._held and not os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                self._file.close()
                self._file, self._offset = open_file(self._path), 0
                yield from self._rest(self._file)
        except OSError:
            return

    def _rest(self, file: BinaryIO) -> Iterator[bytes]:
        size = os.fstat(file.fileno()).st_size
        if size == self._offset:
            return
        file.seek(self._offset if size > self._offset else 0)
        while data := file.read(_PIECE):
            self._offset = file.tell()
            yield data

    def lines(self) -> Iterator[bytes]:
        """The whole lines of what came; the rest waits for its end."""
        for data in self.read():
            *whole, self._begun = (self._begun + data).split(b"\n")
            yield from whole

    def restore(self) -> None:
        """Give a file whose name was removed its name back, as a copy: the reason of a failure stands in it."""
        if self._file is not None and not self._path.exists():
            with contextlib.suppress(OSError), self._path.open("xb") as copy:
                self._file.seek(0)
                shutil.copyfileobj(self._file, copy)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, all for 0; of a bar that was redrawn only its last state."""
    try:
        with open_file(log) as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES) if count else 0)
            data = file.read()
    except OSError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in data.decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line][-count:] if count else [line for line in lines if line]


BACKLOG = 2000
"""Lines that wait where nothing can be written, because the disk is full."""
LONGEST = 1 << 14  # bytes; a longer line is none of ours


_NUMBERS = ("loss", "current", "seconds_per_step", "elapsed")


@dataclass(frozen=True, slots=True)
class StepLine:
    """What is known of one step; NaN is a value, None is unknown."""

    t: float
    step: int
    epoch: int | None = None
    loss: float | None = None
    current: float | None = None
    seconds_per_step: float | None = None
    elapsed: float | None = None
    lr: Mapping[str, float] = field(default_factory=dict)
    late: bool = False

    def joined(self, other: StepLine) -> StepLine:
        """With what a second line says about the same step."""
        told = {name: getattr(other, name) for name in ("epoch", *_NUMBERS)}
        known = {name: value for name, value in told.items() if value is not None}
        return replace(self, **known, lr={**self.lr, **other.lr})


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase or an epoch that begins, or a checkpoint that is begun: ``kind`` says which."""

    t: float
    kind: str
    name: str
    step: int | None = None
    epoch: int | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Metrics:
    """All measurements of a run; of a step that came twice (a resumed run) the later one counts."""

    steps: tuple[StepLine, ...] = ()
    marks: tuple[Mark, ...] = ()

    def of(self, kind: str) -> tuple[Mark, ...]:
        return tuple(mark for mark in self.marks if mark.kind == kind)


class Appender:
    """Puts lines at the end of a file. A full disk loses none of the last ``BACKLOG`` of them and raises nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[bytes] = []
        self._torn = _ends_torn(path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line, and those that could not be written before."""
        kept = {name: json_number(value) for name, value in line.items() if value is not None}
        self._waiting.append(json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
        del self._waiting[:-BACKLOG]
        data = (b"\n" if self._torn else b"") + b"".join(one + b"\n" for one in self._waiting)
        try:
            with os.fdopen(open_for_write(self._path, os.O_APPEND, 0o644), "ab", buffering=0) as file:
                written = file.write(data)
        except OSError:
            return
        self._torn = written != len(data)
        if not self._torn:
            self._waiting.clear()

    def touch(self) -> None:
        """Let the file's time say that somebody watches the run."""
        try:
            os.utime(self._path)
        except OSError:
            return


class Reader:
    """Takes in a file that grows."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._rest = b""
        self._steps: dict[int, StepLine] = {}
        self._last = 0
        self._marks: list[Mark] = []

    def look(self) -> Metrics:
        for line in self._lines():
            if step := _step(line):
                self._take(step)
            elif mark := _mark(line):
                self._marks.append(mark)
        return Metrics(tuple(sorted(self._steps.values(), key=lambda one: one.step)), tuple(self._marks))

    def _take(self, step: StepLine) -> None:
        """A run that was resumed from an earlier step has the steps after it once more."""
        if step.elapsed is not None:
            if step.step < self._last:
                self._steps = {number: one for number, one in self._steps.items() if number < step.step}
            self._last = step.step
        known = self._steps.get(step.step)
        self._steps[step.step] = known.joined(step) if known else step

    def _lines(self) -> Iterator[dict[str, Any]]:
        for data in self._tail.read():
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest if len(self._rest) <= LONGEST else b""
            for line in lines:
                try:
                    value = json.loads(line) if len(line) <= LONGEST else None
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value


def read(run_dir: Path) -> Metrics:
    return Reader(RunPaths(run_dir).metrics).look()


def _step(line: dict[str, Any]) -> StepLine | None:
    t, step = number(line.get("t")), line.get("step")
    if t is None or type(step) is not int or not ("loss" in line or "lr" in line):
        return None
    lr = line.get("lr")
    rates = {str(k): rate for k, v in lr.items() if (rate := number(v)) is not None} if isinstance(lr, dict) else {}
    told = {name: number(line.get(name)) for name in _NUMBERS}
    return StepLine(t, step, epoch=_whole(line.get("epoch")), lr=rates, late=line.get("late") is True, **told)


def _mark(line: dict[str, Any]) -> Mark | None:
    t = number(line.get("t"))
    kind = next((kind for kind in ("phase", "checkpoint", "begins") if kind in line), None)
    if t is None or kind is None:
        return None
    epoch = line.get("begins" if kind == "begins" else "epoch")
    name = "epoch" if kind == "begins" else str(line[kind])
    return Mark(t, kind, name, _whole(line.get("step")), _whole(epoch), late=line.get("late") is True)


def number(value: object) -> float | None:
    """A number of the file, where NaN and the infinities are written as texts."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return float(value) if value in ("nan", "inf", "-inf") and isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def json_number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: json_number(one) for name, one in value.items()}
    return value


def _ends_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # not there, or empty
        return False
