"""What a trainer died of, where its last words or the kernel tell: memory of three kinds, and a full disk."""

from __future__ import annotations

import errno
import re
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.machine.host import free_bytes, oom_kills
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.record.record import Record
from kohya_runner.run.supervise import Outcome

LEAST_BYTES = 1 << 16
"""With less room than this a traceback does not reach the log."""
LINES = 200
"""Of the log's end: a traceback through accelerate has up to 60 lines."""


@dataclass(frozen=True, slots=True)
class ExitCause:
    """A short name for programs, and the rest of a sentence after a colon."""

    code: str
    why: str


SHARED = ExitCause(
    "memory.shared",
    "the shared memory (/dev/shm) is too small for the data loader; lower args.max_data_loader_n_workers",
)
VRAM = ExitCause(
    "memory.vram",
    "the GPU's memory is full; lower args.train_batch_size or set args.gradient_checkpointing, args.fp8_base",
)
HOST = ExitCause("memory.host", "this machine's memory is full; set args.lowram or take a machine with more")
KILLED = ExitCause("memory.host", f"the kernel killed it, because {HOST.why}")
FROM_OUTSIDE = ExitCause(
    "killed", "something outside killed it; where memory is limited by the host, that is the most likely reason"
)
READ_ONLY = ExitCause(
    "disk.read_only", "the disk takes no writes (read-only); mount it anew, or choose another --workspace"
)
DISK = ExitCause("disk.full", "the disk is full; free some space, or choose another --workspace")

PATTERNS: tuple[tuple[str, ExitCause], ...] = (
    (r"Bus error|Unexpected bus error|insufficient shared memory", SHARED),
    (r"unable to (?:open|write|allocate) shared memory", SHARED),
    (r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory", VRAM),
    (r"CUBLAS_STATUS_ALLOC_FAILED|HIP out of memory", VRAM),
    (r"No space left on device|Disk quota exceeded|StorageFull|PytorchStreamWriter failed", DISK),
    (r"Read-only file system", READ_ONLY),
    (r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|^MemoryError\b|Cannot allocate memory", HOST),
)
"""Shared memory before the rest: its message may be followed by others. The first row that fits wins."""

_SIGKILL = re.compile(r"died with <Signals\.SIGKILL: 9>|\(pid: \d+\) .*SIGKILL|exitcode\s*:\s*-9\b")


def find(outcome: Outcome, record: Record, log: Path) -> ExitCause | None:
    """Why a trainer ended with an error, None where nothing tells or where it was stopped or ended well."""
    if outcome.stopped or outcome.returncode == 0:
        return None
    lines = last_lines(log, LINES)
    if outcome.signal == signal.SIGBUS:
        return SHARED
    said = next((cause for pattern, cause in PATTERNS if any(re.search(pattern, line) for line in lines)), None)
    return said or _killed(outcome, lines, record.guard.oom_kills) or _speechless(outcome, log)


def _speechless(outcome: Outcome, log: Path) -> ExitCause | None:
    """Where the log's own disk takes nothing the trainer's last words were lost, if that is so at its end."""
    if outcome.returncode is None:
        return None
    try:
        with tempfile.TemporaryFile(dir=log.parent):  # after an error ext4 takes no writes, and does not say so
            pass
    except OSError as fault:
        return {errno.EROFS: READ_ONLY, errno.ENOSPC: DISK}.get(fault.errno or 0)
    free = free_bytes(log.parent)
    return DISK if free is not None and free < LEAST_BYTES else None


def _killed(outcome: Outcome, lines: list[str], before: int | None) -> ExitCause | None:
    """SIGKILL, of the process itself or of the one that accelerate started; the kernel counts those it kills."""
    if outcome.signal != signal.SIGKILL and not any(_SIGKILL.search(line) for line in lines):
        return None
    now = oom_kills()
    return KILLED if before is not None and now is not None and now > before else FROM_OUTSIDE
