"""A little disk held back while a run goes on, so that a full one cannot keep its last state from the record."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 1 << 18
"""Several times the largest record of an ordinary run."""


def make(run_dir: Path) -> None:
    """Hold it back; bytes by chance, for some file systems keep no zeros. Where there is no room there is none."""
    with contextlib.suppress(OSError):
        RunPaths(run_dir).disk_reserve.write_bytes(os.urandom(BYTES))


def give_back(run_dir: Path) -> None:
    """Free it for what must be written now."""
    with contextlib.suppress(OSError):
        RunPaths(run_dir).disk_reserve.unlink()
