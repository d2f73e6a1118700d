"""This machine as one frozen value, read once."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.machine.filesystems import FileSystem, find_filesystem, read_filesystems
from kohya_runner.machine.gpus import Gpu, read_gpus, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kohya_runner.machine.gpus import Run

ROOT = Path("/")
_V2, _V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
_KIB = 1024
_UNLIMITED = 1 << 60


def oom_kills(root: Path = ROOT) -> int | None:
    """How many processes were killed, in this container if it has a count of its own, else on this machine."""
    second = (folder / "memory.events" for folder in _groups(root))
    first = (folder / "memory.oom_control" for folder in _groups_v1(root))
    for file in (*second, *first):
        if (count := _field(file, "oom_kill")) is not None:
            return count
    return _field(root / "proc/vmstat", "oom_kill")


def available(root: Path = ROOT) -> tuple[int, int] | None:
    """Bytes that can still be had and bytes in all, whichever of machine and container is the tighter."""
    return min(_levels(root), default=None)


def total(root: Path = ROOT) -> int | None:
    """Physical memory, or what the container may use of it."""
    return min((total for _, total in _levels(root)), default=None)


def _levels(root: Path) -> tuple[tuple[int, int], ...]:
    """Bytes left and bytes in all, of the machine and of each control group that has a limit."""
    second, first = map(_group, _groups(root)), map(_group_v1, _groups_v1(root))
    return tuple(pair for pair in (_machine(root), *second, *first) if pair is not None)


def _groups(root: Path) -> tuple[Path, ...]:
    """The control group (version 2) of this process and the outermost one that is seen here."""
    return tuple(dict.fromkeys((root / _V2 / _own(root, ""), root / _V2)))


def _groups_v1(root: Path) -> tuple[Path, ...]:
    """The same of version 1, where memory is a tree of its own; in a container the outermost one is its own."""
    return tuple(dict.fromkeys((root / _V1 / _own(root, "memory"), root / _V1)))


def _own(root: Path, controller: str) -> str:
    """The group of this process in one tree: a line of /proc/self/cgroup is ``number:controllers:/path``."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return next((path.strip("/") for _, names, path in named if controller in names.split(",")), "")


def _machine(root: Path) -> tuple[int, int] | None:
    free, total = (_field(root / "proc/meminfo", name) for name in ("MemAvailable:", "MemTotal:"))
    return (free * _KIB, total * _KIB) if free is not None and total else None


def _group(folder: Path) -> tuple[int, int] | None:
    return _left(folder / "memory.max", folder / "memory.current", folder / "memory.stat", "inactive_file")


def _group_v1(folder: Path) -> tuple[int, int] | None:
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


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where torch's data loaders put batches


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the checks decide on; None is what could not be read. ``cpus`` counts as the trainer does: all of them."""

    filesystems: tuple[FileSystem, ...] = ()
    ram_bytes: int | None = None
    shm_free_bytes: int | None = None
    cpus: int = 1
    gpus: tuple[Gpu, ...] = ()

    def filesystem_of(self, path: Path) -> FileSystem | None:
        """See ``find_filesystem``."""
        return find_filesystem(self.filesystems, path)


def read_host(
    paths: Iterable[Path],
    *,
    environ: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    run: Run | None = None,
) -> HostFacts:
    """The machine under the given paths. ``run`` starts a program and returns its output (see ``run_command``)."""
    return HostFacts(
        filesystems=read_filesystems(paths, environ, clock=clock),
        ram_bytes=total(),
        shm_free_bytes=_free(SHARED_MEMORY),
        cpus=os.cpu_count() or 1,
        gpus=read_gpus(environ, run or (lambda argv: run_command(argv, environ))),
    )


def _free(folder: Path) -> int | None:
    try:
        numbers = os.statvfs(folder)
    except OSError:
        return None
    return numbers.f_bavail * numbers.f_frsize
