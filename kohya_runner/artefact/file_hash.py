"""The hashes of model files, and the record that a fetched file is what the Hub says it is.

A file of gigabytes is read once: as long as the file system says that it is the same file, its hash is remembered.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.safe_files import read_json, stamp, status, write_json

NAME = "model_hashes.json"
VERSION = 1
CHUNK = 8 << 20
QUICK = 256 << 20
"""Bytes of a file that is read without being asked: a fraction of a second."""


@dataclass(slots=True)
class Hashes:
    """Hashes by path and by what the file system says of the file (device, inode, size, mtime, ctime).

    ``thorough``: read files of any size, and keep what was read in ``folder``. Otherwise only small files are read, and
    nothing is written.
    """

    folder: Path
    thorough: bool = False
    _known: dict[str, dict[str, str]] | None = field(default=None, repr=False)

    def of(self, path: Path) -> str:
        """The hash of a file, "" where it is not known and would take long, or the file cannot be read."""
        before = stamp(str(path))
        if before is None:
            return ""
        if self._known is None:
            self._known = _loaded(self.folder / NAME)
        row = self._known.get(str(path.absolute()), {})
        if row.get("stamp") == before.text:
            return row.get("sha256", "")
        try:
            if not self.thorough and path.stat().st_size > QUICK:
                return ""
            found = sha256(path)
        except OSError:
            return ""
        after = stamp(str(path))
        if self.thorough and before.settled and after is not None and after.text == before.text:
            self._known = {**_loaded(self.folder / NAME), str(path.absolute()): {"stamp": before.text, "sha256": found}}
            with suppress(OSError):  # it costs the time to read it once more, nothing else
                write_json(self.folder / NAME, {"version": VERSION, "files": self._known})
        return found


def _loaded(file: Path) -> dict[str, dict[str, str]]:
    told = read_json(file)
    rows = told.get("files") if told.get("version") == VERSION else None
    if not isinstance(rows, dict):
        return {}
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def sha256(path: Path) -> str:
    return _digest(path, hashlib.sha256())


_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the Hub: address, bytes, etag (SHA-256 of an LFS file, git's blob id of others), commit."""

    url: str
    size: int
    etag: str
    commit: str

    @property
    def key(self) -> str:
        """A short name for this content, fit for a file name."""
        return re.sub(r"\W", "", self.etag)[:16] or "unknown"


def record_path(target: Path) -> Path:
    """Where the record of a file lies: beside it, hidden."""
    return target.with_name(f".{target.name}.fetched.json")


def is_recorded(target: Path) -> bool:
    """Whether the file was checked before and has not changed since (size and modification time)."""
    there = status(target)
    return there is not None and _facts(there).items() <= read_json(record_path(target)).items()


def record(target: Path, remote: Remote) -> None:
    """Remember that the file is right."""
    write_json(record_path(target), {**_facts(target.stat()), "etag": remote.etag, "commit": remote.commit})


def _facts(there: os.stat_result) -> dict[str, int]:
    return {"version": VERSION, "size": there.st_size, "mtime_ns": there.st_mtime_ns}


def matches(target: Path, remote: Remote) -> bool:
    """Size and content; where the Hub gives no hash of a known kind, the size alone."""
    if target.stat().st_size != remote.size:
        return False
    if _SHA256.fullmatch(remote.etag):
        return sha256(target) == remote.etag
    if _SHA1.fullmatch(remote.etag):
        blob = hashlib.sha1(f"blob {remote.size}\0".encode(), usedforsecurity=False)
        return _digest(target, blob) == remote.etag
    return True


def set_aside(target: Path, clock: Callable[[], float]) -> Path:
    """Rename a wrong file so that nothing loads it; its record goes."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(clock()))
    suffixes = ("", *(f"-{n}" for n in range(2, 100)))
    names = (target.with_name(f"{target.name}.broken-{moment}{suffix}") for suffix in suffixes)
    aside = next(name for name in names if not name.exists())
    target.rename(aside)
    record_path(target).unlink(missing_ok=True)
    return aside


def _digest(target: Path, digest: hashlib._Hash) -> str:
    with target.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
