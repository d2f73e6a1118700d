"""Which process is meant. A pid is not enough: the system gives it to another process sooner or later."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kohya_runner.safe_files import read_text

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _GROUP, _STARTED = 0, 2, 19  # fields 3, 5 and 22 of /proc/<pid>/stat, counted after the name
_DEAD = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no other: ``started`` in clock ticks after the boot that ``boot_id`` names.

    Where there is no ``/proc`` both are empty and only the pid is known.
    """

    pid: Annotated[int, Field(gt=0)]  # in a record: 0 and less are groups of processes to the kernel
    started: int = 0
    boot_id: str = ""

    def alive(self) -> bool:
        """Whether this very process runs, on this boot of this machine; a zombie does not."""
        if self.boot_id != boot_id():
            return False
        return state_of(self.pid) not in _DEAD and self.present() if self.boot_id else _answers(self.pid)

    def present(self) -> bool:
        """Whether it still holds its pid: it runs, or it is a zombie that its parent has not reaped."""
        if not self.boot_id:
            return _answers(self.pid)
        fields = stat_fields(self.pid)
        return self.boot_id == boot_id() and fields is not None and int(fields[_STARTED]) == self.started


def boot_seconds() -> float:
    """Seconds since the boot, sleep included: a clock that nobody sets, and the same one for every process."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """What the kernel calls this boot, "" where it does not say."""
    return (read_text(_BOOT_ID) or "").strip()


def stat_fields(pid: int) -> tuple[str, ...] | None:
    """The fields of ``/proc/<pid>/stat`` after the name, which may itself hold blanks and brackets."""
    fields = tuple((read_text(Path(f"/proc/{pid}/stat"), "replace") or "").rpartition(")")[2].split())
    return fields if len(fields) > _STARTED else None


def state_of(pid: int) -> str:
    """The state of a process in one letter (``Z`` a zombie, ``T`` stopped), "" where there is none."""
    fields = stat_fields(pid)
    return fields[_STATE] if fields else ""


def waits_of(pid: int) -> int | None:
    """How often the main thread of a process has begun to wait: one that is stuck in a call begins no more."""
    lines = (read_text(Path(f"/proc/{pid}/status"), "replace") or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt")), None)


def group_of(pid: int) -> int | None:
    fields = stat_fields(pid)
    return int(fields[_GROUP]) if fields else None


def identify(pid: int) -> ProcessId:
    """The identity of a process that exists (a zombie counts), to be kept in a file."""
    fields = stat_fields(pid)
    return ProcessId(pid, int(fields[_STARTED]), boot_id()) if fields else ProcessId(pid)


def this_process() -> ProcessId:
    return identify(os.getpid())


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
