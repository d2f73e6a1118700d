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
from kohya_runner.tables import read_table, tupled

LEAST_BYTES = 1 << 16  # with less room than this a traceback does not reach the log
LINES = 200  # of the log's end: a traceback through accelerate has up to 60 lines


@dataclass(frozen=True, slots=True)
class ExitCause:
    """A short name for programs, the rest of a sentence after a colon, and the expressions that tell it by the log."""

    code: str
    why: str
    patterns: tuple[str, ...] = ()


CAUSES = {name: ExitCause(**tupled(row)) for name, row in read_table(Path(__file__).with_suffix(".toml")).items()}
"""In the order in which they are looked for."""

_SIGKILL = re.compile(r"died with <Signals\.SIGKILL: 9>|\(pid: \d+\) .*SIGKILL|exitcode\s*:\s*-9\b")


def find(outcome: Outcome, record: Record, log: Path) -> ExitCause | None:
    """Why a trainer ended with an error, None where nothing tells or where it was stopped or ended well."""
    if outcome.stopped or outcome.returncode == 0:
        return None
    lines = last_lines(log, LINES)
    if outcome.signal == signal.SIGBUS:
        return CAUSES["shared"]
    said = next((cause for cause in CAUSES.values() for pattern in cause.patterns if _in(pattern, lines)), None)
    return said or _killed(outcome, lines, record.guard.oom_kills) or _speechless(outcome, log)


def _in(pattern: str | re.Pattern[str], lines: list[str]) -> bool:
    return any(re.search(pattern, line) for line in lines)


def _speechless(outcome: Outcome, log: Path) -> ExitCause | None:
    """Where the log's own disk takes nothing the trainer's last words were lost, if that is so at its end."""
    if outcome.returncode is None:
        return None
    try:
        with tempfile.TemporaryFile(dir=log.parent):  # after an error ext4 takes no writes, and does not say so
            pass
    except OSError as fault:
        return CAUSES.get({errno.EROFS: "read_only", errno.ENOSPC: "disk"}.get(fault.errno or 0, ""))
    free = free_bytes(log.parent)
    return CAUSES["disk"] if free is not None and free < LEAST_BYTES else None


def _killed(outcome: Outcome, lines: list[str], before: int | None) -> ExitCause | None:
    """SIGKILL, of the process itself or of the one that accelerate started; the kernel counts those it kills."""
    if outcome.signal != signal.SIGKILL and not _in(_SIGKILL, lines):
        return None
    now = oom_kills()
    counted = before is not None and now is not None and now > before
    return CAUSES["killed" if counted else "from_outside"]
