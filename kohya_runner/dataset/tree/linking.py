"""A file in the tree that leads to a source: a symlink, a hard link or a copy, whichever the file system allows."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LinkMethod:
    """One way to make a source appear under another name."""

    name: str
    make: Callable[[Path, Path], object]


def _hard_link(source: Path, target: Path) -> None:
    os.link(os.path.realpath(source), target)  # link(2) itself does not follow symlinks


LINK_METHODS = (
    LinkMethod("symlink", os.symlink),
    LinkMethod("hard link", _hard_link),
    LinkMethod("copy", shutil.copyfile),
)
"""In the order of preference."""


def place(source: Path, target: Path, size: int, ways: tuple[LinkMethod, ...]) -> tuple[LinkMethod, ...]:
    """Make ``target`` lead to ``source``; the ways that are left, the first of which worked.

    DatasetError where the file there has not the size that was read; OSError of the last way where none works.
    """
    for number, way in enumerate(ways):
        try:
            way.make(source, target)
            found = target.stat().st_size
        except OSError:
            target.unlink(missing_ok=True)
            if number + 1 == len(ways) or not source.exists():
                raise
            continue
        if found != size:
            raise DatasetError(f"{source} has changed since it was read", hint="run the command again")
        return ways[number:]
    message = "no way to place a file"
    raise ValueError(message)


def leads_to(target: Path, source: Path, size: int) -> bool:
    """Whether a laid-out file is still what was placed: a link to that source, or a file, of the recorded size."""
    try:
        if target.is_symlink() and os.readlink(target) != str(source):  # noqa: PTH115 - as text
            return False
        return target.stat().st_size == size
    except OSError:
        return False
