"""A run that another process started and no longer watches: watch it to its end, stop it, or judge it."""

from __future__ import annotations

import math
import os
import signal
import time

from kohya_runner.diagnosis.events import Numbering
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.errors import UsageError
from kohya_runner.record import ledger, lock
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.process_identity import ProcessId, state_of, this_process, waits_of
from kohya_runner.record.record import LIVE, UNDER_WAY, Record
from kohya_runner.run.observers import AfterRun, Reporter, Stop, observers
from kohya_runner.run.recorder import Recorder
from kohya_runner.run.stop_sequence import Grace, ProcessGroup, signal_each
from kohya_runner.run.supervise import LAST_LOOK, POLL, Outcome, Watch, adopt, stop_group
from kohya_runner.safe_files import status

FROZEN = ("T", "t", "D")
STUCK = 3.0
"""Seconds without a break in which a runner is frozen (SIGSTOP, Ctrl-Z, a volume) before its run is stopped past it."""
ASLEEP = 15.0
"""The same for one that sleeps in a single call: none of its own lasts above 5 seconds while its trainer lives."""
BY_COMMAND = "kohya-runner stop"  # why a run ended that no runner watched when it was stopped


def adopt_run(view: RunView, screen: Reporter, grace: Grace, after: AfterRun) -> Record:
    """Watch an orphaned run to its end and finish its record.

    Ctrl-C stops the trainer, as it would have stopped it under its first runner. Raises ``UsageError`` for a run that
    is not orphaned, ``RunExistsError`` where another process has just adopted it.
    """
    record, leader = view.record, view.trainer
    if view.state != "orphaned" or record is None or leader is None:
        raise UsageError(f"run {view.run_id} is {view.state}", hint="only a run whose runner is gone can be adopted")
    lock.take(view.path.parent, view.run_id)
    try:
        lock.add_owner(view.path.parent, view.run_id, leader)
        recorder = Recorder(view.path, record.changed(runner=this_process()))
        after.guard(view.path, record, os.environ)
        watch = Watch(view.log, view.output_dir, observers(recorder, screen), grace=grace, before=record.before)
        ended = recorder.finish(adopt(leader, watch, since=_since(record)))
    finally:
        lock.release(view.path.parent, view.run_id)
    return after.conclude(view.path, screen, os.environ, ended)


def judge_ended(view: RunView) -> RunView:
    """Judge a run whose end nobody watched, from its log and files; others stay as they are."""
    judged = settled(view)
    if judged is not view:
        lock.release(view.path.parent, view.run_id)
    return judged


def settled(view: RunView) -> RunView:
    """The same for a run whose name this process holds."""
    record = view.record
    if record is None or record.state not in UNDER_WAY or view.state not in ("succeeded", "lost"):
        return view
    written = status(view.log)  # the last sign of it: nobody saw the end
    _caught_up(view, record).finish(Outcome(_since(record), written.st_mtime if written else time.time()))
    return ledger.view(view.path)


def stop_run(view: RunView, grace: Grace) -> RunView:
    """Stop a run, whoever watches it; return it as it then is. A checkpoint that is being written is finished first."""
    if view.state not in LIVE or view.record is None:
        raise UsageError(f"run {view.run_id} is {view.state}", hint="there is nothing to stop")
    runner = view.runner
    if runner and runner.alive():
        signal_each((runner.pid,), signal.SIGTERM)
        if _gone(view, runner, grace.save_s + grace.int_s + grace.term_s):
            return ledger.view(view.path)
        signal_each((runner.pid,), signal.SIGKILL)  # it must not judge later what is judged now
    if view.trainer:
        end_run(view, grace)
    return ledger.view(view.path)


def end_run(view: RunView, grace: Grace, stop: Stop | None = None) -> None:
    """Stop a run that nobody watches and write down why: ``stop``, or that somebody asked for it."""
    if view.record is None or view.trainer is None:
        return
    stop_group(ProcessGroup(view.trainer, str(view.log)), view.output_dir, grace=grace)
    outcome = Outcome(_since(view.record), time.time(), stopped=stop.why if stop else BY_COMMAND, stop=stop)
    _caught_up(view, view.record).finish(outcome)
    lock.release(view.path.parent, view.run_id)


def _caught_up(view: RunView, record: Record) -> Recorder:
    """A recorder that knows all that the trainer said."""
    recorder = Recorder(view.path, record)
    stream, numbering = Stream(), Numbering(record.before)
    events = (event for data in Tail(view.log).read() for event in stream.feed(data))
    for event in (*events, *stream.close()):
        for seen in numbering.numbered(event):
            recorder.event(seen)
    return recorder


class Pulse:
    """Whether a runner still goes round: one that is only slow begins a new wait now and then."""

    def __init__(self, view: RunView, ended: float = math.inf) -> None:
        """``ended`` are the seconds that one wait of it may last when its trainer is gone: it may be uploading."""
        self._view = view
        self._ended = ended
        self._waits: int | None = None
        self._since = time.monotonic()

    def stuck(self) -> bool:
        """Look again: True once it has stood still for ``STUCK``, or slept in one call for ``ASLEEP``."""
        runner, trainer = self._view.runner, self._view.trainer
        waits = waits_of(runner.pid) if runner and runner.alive() else None
        if runner is None or waits is None or waits != self._waits:
            self._waits, self._since = waits, time.monotonic()
            return False
        state = state_of(runner.pid)
        if state == "R":  # it works, or waits for a core
            self._since = time.monotonic()
        allowed = ASLEEP if trainer and trainer.alive() else self._ended
        return time.monotonic() > self._since + (STUCK if state in FROZEN else allowed)


def _gone(view: RunView, runner: ProcessId, seconds: float) -> bool:
    """Wait for a runner's end; False where it is frozen, hangs, or takes longer."""
    until, pulse = time.monotonic() + seconds, Pulse(view, LAST_LOOK + ASLEEP)
    while runner.alive() and time.monotonic() < until:
        if pulse.stuck():
            return False
        time.sleep(POLL)
    return not runner.alive()


def _since(record: Record) -> float:
    return record.timings.started or 0.0
