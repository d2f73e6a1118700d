"""This machine as one frozen value, read once; its GPUs are those that nvidia-smi reports."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.machine.filesystems import FileSystem, find_filesystem, read_filesystems
from kohya_runner.safe_files import read_text
from kohya_runner.text import number

Run = Callable[[tuple[str, ...]], str | None]

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,memory.used,compute_cap,driver_version",
         "--format=csv,noheader,nounits")  # fmt: skip
TIMEOUT = 10.0
"""Seconds; a hung driver makes nvidia-smi hang."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; None is what nvidia-smi did not say."""

    name: str
    total_bytes: int | None
    used_bytes: int | None
    capability: tuple[int, int] | None
    driver: str


def run_command(argv: tuple[str, ...], environ: Mapping[str, str], timeout: float = TIMEOUT) -> str | None:
    """What the program printed; None where it is missing, failed or took longer than ``timeout`` seconds."""
    try:
        done = subprocess.run(
            argv, env=dict(environ), capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def read_gpus(environ: Mapping[str, str], run: Run) -> tuple[Gpu, ...]:
    """The GPUs this process may use: nvidia-smi's, less what ``CUDA_VISIBLE_DEVICES`` hides."""
    return visible(parse(run(QUERY) or ""), environ.get("CUDA_VISIBLE_DEVICES"))


def parse(text: str) -> tuple[Gpu, ...]:
    """One GPU per line of five fields; other lines (warnings, error texts) are left out."""
    rows = (tuple(field.strip() for field in line.split(",")) for line in text.splitlines())
    return tuple(
        Gpu(row[0], _mebibytes(row[1]), _mebibytes(row[2]), _version(row[3]), row[4]) for row in rows if len(row) == 5
    )


def visible(gpus: tuple[Gpu, ...], devices: str | None) -> tuple[Gpu, ...]:
    """What CUDA shows: the named indices up to the first invalid one; None shows all, an empty text none."""
    if devices is None:
        return gpus
    shown: list[Gpu] = []
    for name in (part.strip() for part in devices.split(",")):
        if name.startswith(("GPU-", "MIG-")) and len(shown) < len(gpus):
            shown.append(gpus[len(shown)])  # which one cannot be told without its UUID; how many can
        elif name.isdigit() and int(name) < len(gpus):
            shown.append(gpus[int(name)])
        else:
            break
    return tuple(shown)


def _mebibytes(text: str) -> int | None:
    found = number(text)
    return None if found is None else int(found) * 2**20


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


SECONDS = 1.0


class PeakGpuMemory:
    """The most ``memory.used`` of any GPU, other programs' too; None where nvidia-smi says nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.before: int | None = None
        self.peak: int | None = None
        self._environ = environ
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> PeakGpuMemory:  # noqa: PYI034 - Self is of Python 3.11
        self.before = self.peak = self._used()
        if self.peak is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look_on(self) -> None:
        while not self._ended.wait(SECONDS):
            used = self._used()
            if used is not None and self.peak is not None:
                self.peak = max(self.peak, used)

    def _used(self) -> int | None:
        gpus = read_gpus(self._environ, lambda argv: run_command(argv, self._environ))
        known = [gpu.used_bytes for gpu in gpus if gpu.used_bytes is not None]
        return max(known) if known else None


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
    free, total = (_field(root / "proc/meminfo", name) for name in ("MemAvailable:", "MemTotal:"))
    machine = (free * _KIB, total * _KIB) if free is not None and total else None
    second = (_left(folder, "memory.max", "memory.current", "inactive_file") for folder in _groups(root))
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    first = (_left(folder, *names) for folder in _groups_v1(root))
    return tuple(pair for pair in (machine, *second, *first) if pair is not None)


def _groups(root: Path) -> tuple[Path, ...]:
    """The control group (version 2) of this process and the outermost one that is seen here."""
    return tuple(dict.fromkeys((root / _V2 / _own(root, ""), root / _V2)))


def _groups_v1(root: Path) -> tuple[Path, ...]:
    """The same of version 1, where memory is a tree of its own; in a container the outermost one is its own."""
    return tuple(dict.fromkeys((root / _V1 / _own(root, "memory"), root / _V1)))


def _own(root: Path, controller: str) -> str:
    """The group of this process in one tree: a line of /proc/self/cgroup is ``number:controllers:/path``."""
    lines = (read_text(root / "proc/self/cgroup", "replace") or "").splitlines()
    named = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return next((path.strip("/") for _, names, path in named if controller in names.split(",")), "")


def _left(group: Path, limit: str, used: str, cache: str) -> tuple[int, int] | None:
    """Pages of files that nobody uses count as used, and are given back when they are needed."""
    total, taken = _number(group / limit), _number(group / used)
    if total is None or taken is None or total >= _UNLIMITED:
        return None
    return max(0, total - taken + (_field(group / "memory.stat", cache) or 0)), total


def _field(file: Path, name: str) -> int | None:
    """The number after a name at the beginning of a line."""
    match = re.search(rf"^{re.escape(name)}\s+(\d+)", read_text(file) or "", re.MULTILINE)
    return int(match.group(1)) if match else None


def _number(file: Path) -> int | None:
    text = (read_text(file) or "").strip()
    return int(text) if text.isdecimal() else None  # no such file, or "max": no limit


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
        shm_free_bytes=free_bytes(SHARED_MEMORY),
        cpus=os.cpu_count() or 1,
        gpus=read_gpus(environ, run or (lambda argv: run_command(argv, environ))),
    )


def free_bytes(folder: Path) -> int | None:
    """What a user may still write there; None where the file system does not say."""
    with suppress(OSError):
        numbers = os.statvfs(folder)
        return numbers.f_bavail * numbers.f_frsize
    return None
