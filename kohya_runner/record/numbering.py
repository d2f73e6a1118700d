"""Run folders: ``runs/<name>/001``, ``002`` and so on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 3
TRIES = 1000


def next_run(folder: Path) -> Path:
    """The first number after the highest that was ever used there."""
    used = [int(name) for name in _names(folder) if name.isascii() and name.isdecimal()]
    return folder / f"{max(used, default=0) + 1:0{WIDTH}d}"


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def claim(folder: Path) -> bool:
    """Make a run's folder; False where another launch was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
