"""Watches a trainer process to its end: one that it starts, or one that another runner started.

Its output goes straight to the log file, never through the runner: killing the runner costs no byte and no step. The
runner follows the file, and stops the whole process group when it is asked to.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from kohya_runner.diagnosis.events import Event, Numbering
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.engines.arguments import Command
from kohya_runner.errors import CancelledError, TerminatedError, TrainerError
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.process_identity import ProcessId, identify
from kohya_runner.record.record import DoneBefore
from kohya_runner.run.stop_request import StopSignals, stop_signals
from kohya_runner.run.stop_sequence import FORCED, RUN, Grace, ProcessGroup, StopSequence
from kohya_runner.safe_files import open_for_write, status
from kohya_runner.text import child_environment

if TYPE_CHECKING:
    from kohya_runner.run.observers import Observer, Stop

P = ParamSpec("P")
T = TypeVar("T")

POLL = 0.25  # seconds between two looks
HUNG = 2.0  # seconds of one look, after which requests to stop are seen to in the meantime
LAST_LOOK = 30.0


@dataclass(frozen=True, slots=True)
class Watch:
    """Where to look and whom to tell. ``log`` is absolute: it also names the run to its processes.

    What an observer or ``on_start`` raises does not touch the training: it is called again only after an ``OSError``.
    The fault is in the outcome.
    """

    log: Path
    output_dir: Path
    observers: tuple[Observer, ...] = ()
    on_start: Callable[[ProcessId], None] = lambda _: None
    grace: Grace = field(default_factory=Grace)
    before: DoneBefore = field(default_factory=DoneBefore)  # of a run that goes on


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trainer ended. Of a process that is not our child neither code nor signal is known.

    ``stopped`` is why it was stopped: the signal that the runner got, or what the ``stop`` of an observer says.
    """

    started: float
    ended: float
    returncode: int | None = None
    signal: int | None = None
    peak_rss: int | None = None  # bytes, of the largest process
    stopped: str = ""
    stop: Stop | None = None
    fault: Exception | None = None

    def raise_stop(self, kept: str = "") -> None:
        """Raise what an observer raised, or the error of a stop; ``kept`` is what is left of the work."""
        if self.fault is not None:
            raise self.fault
        if self.stopped:
            kind = CancelledError if self.stopped == "SIGINT" else TerminatedError
            by = "as you asked" if self.stopped == "SIGINT" else f"by {self.stopped}"
            raise kind(f"stopped {by}{kept}", hint="run the same command again to continue")


def supervise(command: Command, watch: Watch, *, environ: Mapping[str, str], heading: str = "") -> Outcome:
    """Start the command in a session of its own and watch it to its end.

    Its environment is what a trainer needs of ``environ``, with the command's variables on top, and ``RUN``; stdout and
    stderr are appended to the log, after the ``heading``.
    """
    started = time.time()
    with stop_signals() as signals:
        written = status(watch.log)
        session = _Session(watch, signals, started, written.st_size if written else 0)
        if heading:
            with os.fdopen(open_for_write(watch.log, os.O_APPEND, 0o644), "ab") as log:
                log.write(f"{heading}\n".encode())
        shell = child_environment(environ, hub="hub" in command.needs, wandb="wandb" in command.needs)
        process = _start(command, watch.log, {**shell, **command.env, RUN: str(watch.log)})
        leader = identify(process.pid)
        session.guarded(watch.on_start, leader)
        sequence = StopSequence(ProcessGroup(leader, str(watch.log)), watch.output_dir, watch.grace)
        # not reaped, so that the pid stays its own until the group is swept
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        session.follow(sequence, lambda: os.waitid(os.P_PID, leader.pid, look) is None)
        return session.outcome(*_reap(process))


def adopt(leader: ProcessId, watch: Watch, *, since: float) -> Outcome:
    """Watch a trainer whose runner is gone, its log from the beginning. What it left must be judged by its files."""
    with stop_signals() as signals:
        session = _Session(watch, signals, since, 0)
        group = ProcessGroup(leader, str(watch.log))
        group.thaw()  # its runner may have been killed in the moment of a standstill
        session.follow(StopSequence(group, watch.output_dir, watch.grace), leader.alive)
        return session.outcome()


def stop_group(group: ProcessGroup, output_dir: Path, *, grace: Grace) -> bool:
    """Stop a run that nobody watches, as Ctrl-C would; true once it is gone."""
    sequence = StopSequence(group, output_dir, grace)
    group.thaw()
    sequence.request()
    while group.leader.alive() and not sequence.given_up:
        sequence.advance()
        time.sleep(POLL / 5)
    sequence.kill_remaining(lambda: False)
    return not group.leader.alive()


class _Session:
    """One watch over one trainer."""

    def __init__(self, watch: Watch, signals: StopSignals, started: float, offset: int) -> None:
        self._watch = watch
        self._received = signals
        self._started = started
        self._tail = Tail(watch.log, offset, held=True)
        self._stream = Stream()
        self._numbering = Numbering(watch.before)
        self._stop: Stop | None = None
        self._fault: Exception | None = None
        self._silenced: set[object] = set()
        self._looking: threading.Thread | None = None

    def follow(self, sequence: StopSequence, running: Callable[[], bool]) -> None:
        """Watch until the trainer is gone or cannot be stopped; kill what is left of the run."""
        while running() and not sequence.given_up:
            self._look_aside()
            wanted = max(len(self._received.numbers), 1 if self._stop else 0)
            while sequence.requests < wanted:
                sequence.request()
            sequence.advance()
            time.sleep(POLL if not sequence.requests else POLL / 5)
        sequence.kill_remaining(lambda: len(self._received.numbers) >= FORCED)
        if self._looking is not None:
            self._looking.join(LAST_LOOK)
        if self._looking is None or not self._looking.is_alive():
            self._listen()
            self._tail.restore()
            self._tell(self._stream.close())

    def _look_aside(self) -> None:
        """Read log and files in a thread of its own: one that hangs in a read keeps no signal from being obeyed."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self.guarded, args=(self._look,), daemon=True)
            self._looking.start()
        self._looking.join(HUNG)

    def outcome(self, code: int | None = None, peak_rss: int | None = None) -> Outcome:
        number = -code if code is not None and code < 0 else None
        stop = None if self._received.first else self._stop
        reason = self._received.first or (stop.why if stop else "")
        return Outcome(self._started, time.time(), code, number, peak_rss, reason, stop, self._fault)

    def guarded(self, callback: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
        """What the callback returns; None where it raises, and from then on unless the system was the reason."""
        if callback in self._silenced:
            return None
        try:
            return callback(*args, **named)
        except OSError as fault:  # a disk may answer again
            self._fault = self._fault or fault
        except Exception as fault:  # noqa: BLE001 - a fault of a display must not end a training
            self._silenced.add(callback)
            self._fault = fault if self._fault is None or isinstance(self._fault, OSError) else self._fault
        return None

    def _listen(self) -> None:
        for data in self._tail.read():
            self._tell(self._stream.feed(data))

    def _tell(self, events: list[Event]) -> None:
        for event in (seen for said in events for seen in self._numbering.numbered(said)):
            for observer in self._watch.observers:
                self.guarded(observer.event, event)

    def _look(self) -> None:
        self._listen()
        for observer in self._watch.observers:
            stop = self.guarded(observer.tick)
            self._stop = self._stop or stop


def _start(command: Command, log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    handle = open_for_write(log, os.O_APPEND, 0o644)
    try:
        return subprocess.Popen(
            command.argv, cwd=command.cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=handle, stderr=handle,
            start_new_session=True,
        )  # fmt: skip
    except OSError as fault:
        what = f"cannot start {command.argv[0]} in {command.cwd}: {fault.strerror or fault}"
        raise TrainerError(what, hint="name the trainer's Python with launch.python or $KOHYA_RUNNER_PYTHON") from None
    finally:
        os.close(handle)


def _reap(process: subprocess.Popen[bytes]) -> tuple[int | None, int | None]:
    """Its exit code and the memory of its largest process, as far as the kernel says them."""
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid == 0:  # not even KILL ended it
        return None, None
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024
