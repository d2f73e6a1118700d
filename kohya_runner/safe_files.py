"""Files written whole or not at all, and paths that no link leads out of their folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

SETTLED = 2_000_000_000  # nanoseconds since the last change of a file that is kept


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says of a file, and whether that is old enough to be relied on."""

    text: str
    settled: bool


def stamp(path: str, now: int | None = None) -> Stamp | None:
    """The stamp of a file, links followed; None where there is none. ``now`` in nanoseconds is given by tests."""
    try:
        s = os.stat(path)  # noqa: PTH116 - a hundred thousand times
    except OSError:
        return None
    changed = max(s.st_mtime_ns, s.st_ctime_ns)
    text = f"{s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"
    return Stamp(text, (time.time_ns() if now is None else now) - changed > SETTLED)


HERE = Path(__file__).absolute().parents[1]
"""Where ``python -m kohya_runner...`` is started: Python looks for modules where it stands, before anywhere else, and a
downloaded folder may hold some."""
PRIVATE = 0o600  # of what may hold values of the environment


def write_bytes(path: Path, data: bytes, mode: int = 0o644, *, flush: bool = True) -> None:
    """Put ``data`` at ``path`` in one step: a temporary file beside it, flushed, then renamed.

    Without ``flush`` a power cut may leave it empty: for what can be made again, and whose size is known.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        Path(name).chmod(mode)
        os.replace(name, path)  # noqa: PTH105 - the atomic call, by its name
    except BaseException as fault:
        Path(name).unlink(missing_ok=True)
        if isinstance(fault, OSError) and fault.filename is None:
            fault.filename = str(path)  # a full disk names no file
        raise


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    write_bytes(path, text.encode(), mode)


def write_json(path: Path, value: Mapping[str, Any], mode: int = 0o644) -> None:
    """``write_text`` of an indented JSON object."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", mode)


KERNEL = ("/proc", "/sys")
"""Files there look like files and are none: reading one can wait for ever, or never come to an end."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is not there, or holds anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_text(path: Path, errors: str = "strict") -> str | None:
    """The text of a file; None where it cannot be read, or is not UTF-8 and ``errors`` do not allow it."""
    try:
        return path.read_text(encoding="utf-8", errors=errors)
    except (OSError, UnicodeDecodeError):
        return None


def status(path: Path) -> os.stat_result | None:
    """What the file system says of a path, links followed; None where there is nothing."""
    try:
        return path.stat()
    except OSError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; another one waits. Some network volumes cannot lock and go without."""
    with os.fdopen(open_for_write(path), "wb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, 0)


def kept_away(fault: BaseException) -> bool:
    """Whether the system refused or failed to read what is there: that says nothing of what is in it."""
    return isinstance(fault, OSError) and fault.errno not in (*ABSENT, None, errno.EINVAL)


@contextmanager
def locked_now(path: Path) -> Iterator[bool]:
    """Whether this process has the lock for the block; never waits. Some network volumes cannot lock: then it has."""
    with os.fdopen(open_for_write(path), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True


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


KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def special(path: str | os.PathLike[str]) -> str:
    """Why a path may not be opened as a file ("is a named pipe"), "" where it may or where nothing is there."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return ""
    if is_inside(path, KERNEL):
        return "is a file of the kernel, not of a disk"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return f"is {KINDS.get(stat.S_IFMT(mode), 'something special')}, not a file"


@cache
def refuse_special_files() -> None:
    """From now on nothing in this process opens a pipe, a socket, a device or a file of the kernel by its own name.

    Whoever means to (``/dev/null``, ``/proc/mounts``, a shell's ``/dev/fd/63``) says so by the whole path; one of a
    recipe is looked at by ``recipe.load``. What opens without waiting looks for itself.
    """
    kernel = {os.stat(folder).st_dev for folder in KERNEL if os.path.isdir(folder)}  # noqa: PTH116
    whole = ("/dev/", *(f"{folder}/" for folder in KERNEL))

    def look(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(args[0], (str, bytes, os.PathLike)) or args[2] & os.O_NONBLOCK:
            return
        name = os.fsdecode(args[0])
        try:
            found = os.stat(name)  # noqa: PTH116 - for each file that is opened
        except (OSError, ValueError):
            return
        usual = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if not (usual and found.st_dev not in kernel) and not name.startswith(whole):
            raise UnsafePathError(0, special(name) or "is no file", name)

    sys.addaudithook(look)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file for reading; ``UnsafePathError`` for anything else, without waiting for its other end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(handle).st_mode) or is_inside(path, KERNEL):
        os.close(handle)
        raise UnsafePathError(0, special(path) or "is no file", str(path))
    os.set_blocking(handle, True)
    return os.fdopen(handle, "rb")


def readable(path: Path) -> Path:
    """The path; ``OSError`` where something is there that cannot be read: that is not an empty file."""
    with suppress(FileNotFoundError):
        open_file(path).close()
    return path


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


def copy_file(path: Path, target: Path, *, link: bool = False) -> None:
    """A copy of a file, with its time, under its name in one step."""
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        (os.link if link else shutil.copy2)(path, partial)
    except OSError:  # another disk, or one without links
        shutil.copy2(path, partial)
    partial.replace(target)
