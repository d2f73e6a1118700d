"""How a run is doing, from its files alone: ``record.json``, ``metrics.jsonl``, the log. Nothing is written.

So it may be looked at from another machine that mounts the workspace. The processes of that other machine cannot be
seen; that somebody watches the run is told by the time of its files, which the runner renews every ten seconds.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.diagnosis.events import OtherBar, Phase, Step
from kohya_runner.diagnosis.progress import TRAINING, Stream
from kohya_runner.machine.host import free_bytes
from kohya_runner.record import ledger
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import Metrics, Reader, last_lines, read
from kohya_runner.record.process_identity import boot_id
from kohya_runner.record.record import LIVE, UNDER_WAY, Record
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import stop_request
from kohya_runner.run.spending import Spending, price_of, spending
from kohya_runner.safe_files import open_file, status
from kohya_runner.workspace import is_network_mount

SILENT = 120.0  # seconds without a sign after which a run on another machine is taken to have lost its runner
QUIET = 120.0
"""Seconds without a line of the trainer that are worth a word, where nothing is known of what is usual."""
PREPARING = 3600.0  # the same before the trainer is there: fetching a model gives no sign
LOG_LINES = 40
_TAIL = 1 << 16


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run at one moment. None: not known."""

    view: RunView
    metrics: Metrics
    state: str
    now: float
    elsewhere: bool = False  # its runner is on another machine, or was, before a restart of this one
    last_sign: float | None = None
    step: int = 0
    total: int | None = None
    phase: str = ""
    work: str = ""  # of the bar of this phase, if it is not the one of the steps: caching, loading
    quiet: float | None = None  # seconds since the trainer last wrote a line
    usual: float | None = None  # how long this phase took in the run of this name before
    free_bytes: int | None = None  # None on a network volume, whose size is not the one that is paid for
    price: float | None = None  # an hour
    lines: tuple[str, ...] = ()
    stop_request: stop_request.StopRequest | None = None

    @property
    def loss(self) -> float | None:
        """The last one, a running mean."""
        return next((one.loss for one in reversed(self.metrics.steps) if one.loss is not None), None)

    @property
    def epoch(self) -> int | None:
        """The one that goes on."""
        record = self.view.record
        begun = self.metrics.of("begins")
        return max(begun[-1].epoch or 0 if begun else 0, record.epochs_seen if record else 0) or None

    @property
    def seconds_per_step(self) -> float | None:
        """Over the whole run by our own clock, else as the trainer's bar says it."""
        record = self.view.record
        own = record.timings.seconds_per_step if record else None
        return own or next((one.seconds_per_step for one in reversed(self.metrics.steps) if one.seconds_per_step), None)

    @property
    def seconds_left(self) -> float | None:
        """None before the second step."""
        if self.state not in LIVE or self.total is None or not self.seconds_per_step or self.step < 2:
            return None
        return max(0.0, (self.total - self.step) * self.seconds_per_step)

    @property
    def seconds_gone(self) -> float | None:
        record = self.view.record
        began = (record.timings.queued or record.timings.started) if record else None
        end = record.timings.ended if record else None
        return None if began is None else max(0.0, (end or self.now) - began)

    @property
    def spending(self) -> Spending | None:
        """What each paid minute went to; None without a record."""
        record = self.view.record
        return spending(self.view.path, record, self.metrics, state=self.state, now=self.now) if record else None

    def cost(self, seconds: float | None) -> float | None:
        return None if self.price is None or seconds is None else self.price * seconds / 3600


class StatusReader:
    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._metrics = Reader(RunPaths(run_dir).metrics)
        self._network = is_network_mount(run_dir)
        self._usual: dict[str, float] | None = None  # read once it is needed

    def look(self) -> RunStatus:
        view, metrics = ledger.view(self.run_dir), self._metrics.look()
        record = view.record
        paths, tail = RunPaths(self.run_dir), _log_tail(view.log)
        here, runner = boot_id(), record.runner if record and record.state in UNDER_WAY else None
        elsewhere = bool(runner and here and runner.boot_id != here)
        written = {path: s.st_mtime for path in (paths.metrics, view.log, paths.record) if (s := status(path))}
        wrote, signs = written.get(view.log), written.values()
        steps = [*(one.step for one in metrics.steps[-1:]), tail.step.step if tail.step else 0]
        phase = (tail.phase if view.state == "orphaned" else "") or current_phase(metrics) or "starting the trainer"
        quiet = None if wrote is None else max(0.0, time.time() - wrote)
        if self._usual is None and quiet is not None and quiet > QUIET:
            self._usual = _earlier_phases(self.run_dir)
        return RunStatus(
            view=view,
            metrics=metrics,
            state=_state(view, elsewhere=elsewhere, last_sign=max(signs, default=None)),
            now=time.time(),
            elsewhere=elsewhere,
            last_sign=max(signs, default=None),
            step=max([record.steps_seen if record else 0, *steps]),
            total=tail.step.total if tail.step else record.steps_planned if record else None,
            phase=phase,
            work=tail.work if tail.phase in ("", phase) else "",
            quiet=quiet,
            usual=(self._usual or {}).get(phase),
            free_bytes=None if self._network else free_bytes(self.run_dir),
            price=price_of(record),
            lines=tuple(last_lines(view.log, LOG_LINES)),
            stop_request=stop_request.read(self.run_dir),
        )


def _state(view: RunView, *, elsewhere: bool, last_sign: float | None) -> str:
    if not elsewhere or view.record is None:
        return view.state
    allowed = SILENT if view.record.process else PREPARING
    silent = last_sign is None or time.time() - last_sign > allowed
    return "silent" if silent else view.record.state


@dataclass(frozen=True, slots=True)
class _LogTail:
    """The end of a log: the last phase that begins there, the bar of that phase, the last step."""

    phase: str = ""
    work: str = ""
    step: Step | None = None


def _log_tail(log: Path) -> _LogTail:
    """A run that nobody watches goes on to write; a bar of an earlier phase says nothing of this one."""
    try:
        with open_file(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            data = file.read()
    except OSError:
        return _LogTail()
    found, stream = _LogTail(), Stream()
    for event in (*stream.feed(data), *stream.close()):
        match event:
            case Phase():
                found = replace(found, phase=event.name, work="")
            case OtherBar():
                found = replace(found, work=f"{event.done}/{event.total}")
            case Step():
                found = replace(found, work="", step=event)
            case _:
                pass
    return found


def _earlier_phases(run_dir: Path) -> dict[str, float]:
    """How long each phase took, each time that it came, in the last run of this name that succeeded before."""
    views = map(ledger.view, sorted(path for path in run_dir.parent.iterdir() if path.name < run_dir.name))
    before = [v for v in views if v.record and v.state == "succeeded"]
    record = before[-1].record if before else None
    if record is None:
        return {}
    times = phase_times(read(before[-1].path), record)
    return {one.phase: one.seconds / one.times for one in times if one.sure and one.times}


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """The seconds of one phase, and how often it came; ``sure`` is false where nobody watched a part of it."""

    phase: str
    seconds: float
    times: int
    sure: bool


def current_phase(metrics: Metrics) -> str:
    """The phase that goes on; an epoch that begins is training."""
    for mark in reversed(metrics.marks):
        if mark.kind == "phase":
            return mark.name
        if mark.kind == "begins":
            return TRAINING
    return ""


def phase_times(metrics: Metrics, record: Record) -> tuple[PhaseTime, ...]:
    """In the order in which they first came; the time before the trainer's start is ``preparing``."""
    timings = record.timings
    begins: list[tuple[float, str, bool]] = []
    if timings.queued:
        begins.append((timings.queued, "preparing", False))
    if timings.started:
        begins.append((timings.started, "starting the trainer", False))
    marks = (mark for mark in metrics.marks if mark.kind in ("phase", "begins"))
    begins += [(mark.t, mark.name if mark.kind == "phase" else TRAINING, mark.late) for mark in marks]
    last = max([timings.ended or 0.0, *(one.t for one in metrics.steps[-1:]), *(m.t for m in metrics.marks[-1:])])
    ends = [t for t, _, _ in begins[1:]] + [last]
    found: dict[str, PhaseTime] = {}
    before = ""
    for (t, name, late), end in zip(begins, ends, strict=True):
        known = found.get(name, PhaseTime(name, 0.0, 0, sure=True))
        again = name != before
        found[name] = PhaseTime(name, known.seconds + max(0.0, end - t), known.times + again, known.sure and not late)
        before = name
    return tuple(found.values())
