"""The GPUs that nvidia-smi reports."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Run = Callable[[tuple[str, ...]], str | None]
    from types import TracebackType

QUERY = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,memory.used,compute_cap,driver_version",
    "--format=csv,noheader,nounits",
)
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
    return tuple(_gpu(row) for row in rows if len(row) == len(("name", "total", "used", "capability", "driver")))


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


def _gpu(row: tuple[str, ...]) -> Gpu:
    name, total, used, capability, driver = row
    return Gpu(name, _mebibytes(total), _mebibytes(used), _version(capability), driver)


def _mebibytes(text: str) -> int | None:
    try:
        return int(float(text)) * 2**20
    except ValueError:
        return None


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


SECONDS = 1.0


class PeakGpuMemory:
    """The most ``memory.used`` of any GPU, other programs' too; None where nvidia-smi says nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` decides which GPUs are looked at."""
        self.before: int | None = None
        self.peak: int | None = None
        self._environ = environ
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> PeakGpuMemory:  # noqa: PYI034 - Self is of Python 3.11
        """Begin to look."""
        self.before = self.peak = self._used()
        if self.peak is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
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
