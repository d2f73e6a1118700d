"""A run that another process started and no longer watches: watch it to its end, stop it, or judge it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.events import Numbering
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.errors import UsageError
from kohya_runner.record import ledger, lock
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.process_identity import this_process
from kohya_runner.record.record import LIVE, UNDER_WAY, Process
from kohya_runner.run.observers import observers
from kohya_runner.run.process_group import ProcessGroup
from kohya_runner.run.recorder import Recorder
from kohya_runner.run.supervise import POLL, Outcome, Watch, adopt, stop_group

if TYPE_CHECKING:
    from kohya_runner.record.ledger import RunView
    from kohya_runner.record.record import Record
    from kohya_runner.run.observers import AfterRun, Reporter, Stop
    from kohya_runner.run.stopping.stop_sequence import Grace

BY_COMMAND = "kohya-runner stop"
"""Why a run ended that no runner watched when it was stopped."""


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
        recorder = Recorder(view.path, record.changed(runner=Process.of(this_process())))
        after.guard(view.path, record, os.environ)
        watch = Watch(view.log, view.output_dir, observers(recorder, screen), grace=grace, before=record.before)
        ended = recorder.finish(adopt(leader, watch, since=_since(record)))
    finally:
        lock.release(view.path.parent, view.run_id)
    return after.conclude(view.path, screen, os.environ, ended)


def judge_ended(view: RunView) -> RunView:
    """Judge a run whose end nobody watched, from its log and files; others stay as they are."""
    record = view.record
    if record is None or record.state not in UNDER_WAY or view.state not in ("succeeded", "lost"):
        return view
    _caught_up(view, record).finish(Outcome(_since(record), _last_sign(view)))
    lock.release(view.path.parent, view.run_id)
    return ledger.view(view.path)


def stop_run(view: RunView, grace: Grace) -> RunView:
    """Stop a run, whoever watches it; return it as it then is. A checkpoint that is being written is finished first."""
    if view.state not in LIVE or view.record is None:
        raise UsageError(f"run {view.run_id} is {view.state}", hint="there is nothing to stop")
    if view.runner and view.runner.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(view.runner.pid, signal.SIGTERM)
        _wait_for(view, grace.save_s + grace.int_s + grace.term_s)
    elif view.trainer:
        end_run(view, grace)
    return ledger.view(view.path)


def end_run(view: RunView, grace: Grace, stop: Stop | None = None) -> None:
    """Stop a run that nobody watches and write down why: ``stop``, or that somebody asked for it."""
    if view.record is None or view.trainer is None:
        return
    since = _since(view.record)
    stop_group(ProcessGroup(view.trainer, str(view.log)), view.output_dir, since=since, grace=grace)
    outcome = Outcome(since, time.time(), stopped=stop.why if stop else BY_COMMAND, stop=stop)
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


def _wait_for(view: RunView, seconds: float) -> None:
    until = time.monotonic() + seconds
    while view.runner and view.runner.alive() and time.monotonic() < until:
        time.sleep(POLL)


def _last_sign(view: RunView) -> float:
    """When the log was last written: nobody saw the end."""
    try:
        return view.log.stat().st_mtime
    except OSError:
        return time.time()


def _since(record: Record) -> float:
    return record.timings.started or 0.0
