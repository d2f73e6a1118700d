"""All processes of one run: the trainer's process group, and what moved to sessions of its own.

``accelerate launch`` for several GPUs starts its workers in new sessions (torch's subprocess handler), where a signal
to the group does not reach them. They are found by a variable that they inherit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.record.process_identity import ProcessId, group_of, state_of

RUN = "KOHYA_RUNNER_RUN"
"""Holds the path of the run's log; every process a trainer starts inherits it, whichever session it moves to."""

_STANDSTILL = 0.2
"""Seconds until a process that was told to stop is taken to be stuck in the kernel."""
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
            _to_each(self.members(), number)

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
        """Let every process go on."""
        self._to_group(signal.SIGCONT)
        _to_each(self.members(), signal.SIGCONT)

    def _freeze(self) -> None:
        self._to_group(signal.SIGSTOP)
        members = self.members()
        _to_each(members, signal.SIGSTOP)
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
        return in_group or bool(mark and mark in _environment(pid))


def _pids() -> tuple[int, ...]:
    try:
        return tuple(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    except OSError:
        return ()


def _environment(pid: int) -> tuple[bytes, ...]:
    """The variables a process began with; nothing of those that are not ours to read."""
    try:
        return tuple(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return ()


def _to_each(pids: tuple[int, ...], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
