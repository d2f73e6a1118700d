"""Memory of this machine or container: how much is left, and how often the kernel has killed for want of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("/")
_V2, _V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
_KIB = 1024
_UNLIMITED = 1 << 60


def oom_kills(root: Path = ROOT) -> int | None:
    """How many processes were killed, in this container if it has a count of its own, else on this machine."""
    for file in (*(folder / "memory.events" for folder in _groups(root)), root / _V1 / "memory.oom_control"):
        if (count := _field(file, "oom_kill")) is not None:
            return count
    return _field(root / "proc/vmstat", "oom_kill")


def available(root: Path = ROOT) -> tuple[int, int] | None:
    """Bytes that can still be had and bytes in all, whichever of machine and container is the tighter."""
    found = [pair for pair in (_machine(root), *map(_group, _groups(root)), _group_v1(root)) if pair is not None]
    return min(found, default=None)


def _groups(root: Path) -> tuple[Path, ...]:
    """The control group (version 2) of this process and the outermost one that is seen here."""
    try:
        text = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return (root / _V2,)
    own = next((line[3:].strip("/\n") for line in text.splitlines() if line.startswith("0::")), "")
    return tuple(dict.fromkeys((root / _V2 / own, root / _V2)))


def _machine(root: Path) -> tuple[int, int] | None:
    free, total = (_field(root / "proc/meminfo", name) for name in ("MemAvailable:", "MemTotal:"))
    return (free * _KIB, total * _KIB) if free is not None and total else None


def _group(folder: Path) -> tuple[int, int] | None:
    return _left(folder / "memory.max", folder / "memory.current", folder / "memory.stat", "inactive_file")


def _group_v1(root: Path) -> tuple[int, int] | None:
    folder = root / _V1
    limit, used = folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes"
    return _left(limit, used, folder / "memory.stat", "total_inactive_file")


def _left(limit: Path, used: Path, stat: Path, cache: str) -> tuple[int, int] | None:
    """Pages of files that nobody uses count as used, and are given back when they are needed."""
    total, taken = _number(limit), _number(used)
    if total is None or taken is None or total >= _UNLIMITED:
        return None
    return max(0, total - taken + (_field(stat, cache) or 0)), total


def _field(file: Path, name: str) -> int | None:
    """The number after a name at the beginning of a line."""
    try:
        match = re.search(rf"^{re.escape(name)}\s+(\d+)", file.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return int(match.group(1)) if match else None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None  # no such file, or "max": no limit
