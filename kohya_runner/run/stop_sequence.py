"""How a run is stopped: INT, wait, TERM, wait, KILL, and never while a checkpoint is being written."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.record.process_identity import ProcessId, group_of, state_of
from kohya_runner.run.checkpoints import being_written

RUN = "KOHYA_RUNNER_RUN"
"""Holds the path of the run's log; every process a trainer starts inherits it, whichever session it moves to.

The workers of several GPUs do (torch's subprocess handler): a signal to the group does not reach them.
"""

_STANDSTILL = 0.2  # seconds until a process that was told to stop is taken to be stuck in the kernel
_STILL = frozenset({"", "T", "t", "Z", "X"})


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of a run: ``leader`` is the first one, in a session and a group of its own."""

    leader: ProcessId
    mark: str = ""  # the value of RUN in every process of the run

    def signal(self, number: int) -> None:
        """Send a signal to the group; KILL goes to every process of the run."""
        self._to_group(number)
        if number == signal.SIGKILL:
            signal_each(self.members(), number)

    def members(self) -> tuple[int, ...]:
        """The pids of the run, the leader among them while it is there; empty where there is no ``/proc``."""
        mark = os.fsencode(f"{RUN}={self.mark}") if self.mark else b""
        return tuple(pid for pid in _pids() if pid != os.getpid() and self._holds(pid, mark))

    def survivors(self) -> tuple[int, ...]:
        """The members that still run, less the leader."""
        return tuple(pid for pid in self.members() if pid != self.leader.pid and state_of(pid) not in ("", "Z", "X"))

    def signal_unless(self, number: int, busy: Callable[[], bool]) -> bool:
        """Send a signal unless ``busy`` says no, looked at while every process stands still; whether it was sent.

        Without the standstill a checkpoint could be begun between the look and the signal.
        """
        self._freeze()
        try:
            if busy():
                return False
            self.signal(number)
            return True
        finally:
            self.thaw()

    def thaw(self) -> None:
        self._to_group(signal.SIGCONT)
        signal_each(self.members(), signal.SIGCONT)

    def _freeze(self) -> None:
        self._to_group(signal.SIGSTOP)
        members = self.members()
        signal_each(members, signal.SIGSTOP)
        until = time.monotonic() + _STANDSTILL
        while time.monotonic() < until and not all(state_of(pid) in _STILL for pid in members):
            time.sleep(0.005)

    def _to_group(self, number: int) -> None:
        """Only while the leader's pid is its own: the number of a group is free again when all of it is gone."""
        if self.leader.present():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.leader.pid, number)

    def _holds(self, pid: int, mark: bytes) -> bool:
        in_group = self.leader.present() and group_of(pid) == self.leader.pid
        return in_group or bool(mark and mark in environment_of(pid))


def _pids() -> tuple[int, ...]:
    try:
        return tuple(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    except OSError:
        return ()


def environment_of(pid: int) -> tuple[bytes, ...]:
    """The variables a process began with; nothing of those that are not ours to read."""
    try:
        return tuple(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return ()


def signal_each(pids: tuple[int, ...], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_left_over(log: Path) -> bool:
    """KILL what earlier attempts left on this machine: ``log`` without its end is how their logs begin. Were there any?

    Whoever kills ``accelerate launch`` leaves its processes, and they would go on writing the files of the run.
    """
    mark, until = os.fsencode(f"{RUN}={log.with_suffix('')}"), time.monotonic() + _DYING
    found = False
    while left := tuple(p for p in _pids() if any(said.startswith(mark) for said in environment_of(p))):
        signal_each(left, signal.SIGKILL)
        found = True
        if time.monotonic() > until:
            break
        time.sleep(_LOOK)
    return found


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_KILL = SIGNALS.index(signal.SIGKILL)
FORCED = 3  # the third request kills, whatever is being written
_UNKILLABLE = 30.0
_DYING = 2.0
_LOOK = 0.05
_ANSWER = 5.0
"""Seconds in which a volume must say what lies on it: a look that hangs must not hold the third request."""


@dataclass(frozen=True, slots=True)
class Grace:
    """How long each step may take, in seconds; ``save_s`` is how long a signal waits for a checkpoint."""

    int_s: float = 60.0
    term_s: float = 10.0
    save_s: float = 120.0


class StopSequence:
    """One stop, from the first request to the last signal. ``advance`` is called again and again and never waits."""

    def __init__(self, group: ProcessGroup, output_dir: Path, grace: Grace) -> None:
        self.group = group
        self.requests = 0
        self._output_dir = output_dir
        self._grace = grace
        self._index = 0
        self._due = 0.0

    @property
    def given_up(self) -> bool:
        """Whether even KILL did not help: the process is stuck in the kernel."""
        return self._index > _KILL and time.monotonic() > self._due

    def request(self) -> None:
        """Ask to stop; asking again goes to the next signal at once, a third time to the last one."""
        self.requests += 1
        self._due = time.monotonic()
        self._index = max(self._index, min(self.requests - 1, _KILL))

    def advance(self) -> None:
        """Send the next signal if its time has come and nothing is being written."""
        now = time.monotonic()
        if not self.requests or self._index > _KILL or now < self._due:
            return
        if self._sent(now):
            waits = (self._grace.int_s, self._grace.term_s, _UNKILLABLE)
            self._due = time.monotonic() + waits[self._index]
            self._index += 1

    def kill_remaining(self, in_a_hurry: Callable[[], bool]) -> None:
        """After the leader's end: kill what outlived it and writes no checkpoint any more; wait until it is gone."""
        until = time.monotonic() + self._grace.save_s
        while self.group.survivors() and time.monotonic() < until and not in_a_hurry():
            if not self.saving() and self.group.signal_unless(signal.SIGKILL, self.saving):
                break
            time.sleep(_LOOK)
        self.group.signal(signal.SIGKILL)
        until = time.monotonic() + _DYING
        while self.group.survivors() and time.monotonic() < until:
            time.sleep(_LOOK)

    def saving(self) -> bool:
        """Whether a checkpoint is being written, or its volume does not answer."""
        answer: list[bool] = []
        look = threading.Thread(
            target=lambda: answer.append(being_written(self._output_dir, time.time()) is not None), daemon=True
        )
        look.start()
        look.join(_ANSWER)
        return answer[0] if answer else True

    def _sent(self, now: float) -> bool:
        number = SIGNALS[self._index]
        if self.requests < FORCED and now < self._due + self._grace.save_s:
            return not self.saving() and self.group.signal_unless(number, self.saving)
        self.group.signal(number)
        return True
