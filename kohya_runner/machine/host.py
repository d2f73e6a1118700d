"""This machine as one frozen value, read once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.machine import host_memory
from kohya_runner.machine.filesystems import FileSystem, find_filesystem, read_filesystems
from kohya_runner.machine.gpus import Gpu, read_gpus, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kohya_runner.machine.gpus import Run

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
        ram_bytes=host_memory.total(),
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
