"""Paths below a folder that may have come from a stranger: no link leads out, nothing special is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

KERNEL = ("/proc", "/sys")
"""Files there look like files and are none: reading one can wait for ever, or never come to an end."""


class UnsafePathError(OSError):
    """A path that leads out of its folder, or to something that is no file."""


def is_inside(path: str | os.PathLike[str], roots: Iterable[str | os.PathLike[str]]) -> bool:
    """Whether a path, with its links followed, lies in one of the folders (or is one)."""
    real = os.path.realpath(path)
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in map(os.path.realpath, roots))


def link_out(root: Path, path: Path) -> Path | None:
    """The first link between ``root`` and a ``path`` below it that leads out of ``root``; None where none does.

    The root may be a link itself: that is its owner's choice.
    """
    here = root
    if not path.is_relative_to(root):
        return None
    for part in Path(os.path.relpath(path, root)).parts:
        here = here / part
        if os.path.islink(here) and not is_inside(here, (root,)):
            return here
    return None


def special(path: str | os.PathLike[str]) -> str:
    """Why a path may not be opened as a file ("is a named pipe"), "" where it may or where nothing is there."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return ""
    if is_inside(path, KERNEL):
        return "is a file of the kernel, not of a disk"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return f"is {kinds.get(stat.S_IFMT(mode), 'something special')}, not a file"


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file for reading; ``UnsafePathError`` for anything else, without waiting for its other end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(handle).st_mode) or is_inside(path, KERNEL):
        os.close(handle)
        raise UnsafePathError(0, special(path) or "is no file", str(path))
    os.set_blocking(handle, True)
    return os.fdopen(handle, "rb")


def open_for_write(path: Path, flags: int = os.O_TRUNC, mode: int = 0o600) -> int:
    """A handle to write a file that is no link and no special file; the file is made where it is not there."""
    safe = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, safe | flags & ~os.O_TRUNC, mode)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnsafePathError(0, special(path) or "is no file", str(path))
    if flags & os.O_TRUNC:
        os.ftruncate(handle, 0)
    os.set_blocking(handle, True)
    return handle
