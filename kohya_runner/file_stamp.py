"""Whether a file is still the same one, by what the file system says of it: nobody else sets the ctime."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

SETTLED = 2_000_000_000  # nanoseconds since the last change of a file that is kept


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says of a file, and whether that is old enough to be relied on."""

    text: str
    settled: bool


def stamp(path: str, now: int | None = None) -> Stamp | None:
    """The stamp of a file, links followed; None where there is none. ``now`` in nanoseconds is given by tests."""
    try:
        s = os.stat(path)  # noqa: PTH116 - a hundred thousand times
    except OSError:
        return None
    changed = max(s.st_mtime_ns, s.st_ctime_ns)
    text = f"{s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"
    return Stamp(text, (time.time_ns() if now is None else now) - changed > SETTLED)
