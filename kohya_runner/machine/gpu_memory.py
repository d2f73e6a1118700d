"""How much GPU memory is in use while something runs, looked at once a second from beside it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kohya_runner.machine.gpus import read_gpus, run_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

SECONDS = 1.0


class Gauge:
    """The most ``memory.used`` of any GPU, other programs' too; None where nvidia-smi says nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` decides which GPUs are looked at."""
        self.before: int | None = None
        self.peak: int | None = None
        self._environ = environ
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Gauge:  # noqa: PYI034 - Self is of Python 3.11
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
