"""Whether a fetched file is what the Hub says it is, and the record of having looked."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION = 1
CHUNK = 8 * 2**20
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
    try:
        found = json.loads(record_path(target).read_text(encoding="utf-8"))
        status = target.stat()
    except (OSError, ValueError):
        return False
    expected = {"version": VERSION, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return isinstance(found, dict) and expected.items() <= found.items()


def record(target: Path, remote: Remote) -> None:
    """Remember that the file is right."""
    status = target.stat()
    facts = {"version": VERSION, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    write_json(record_path(target), {**facts, "etag": remote.etag, "commit": remote.commit})


def matches(target: Path, remote: Remote) -> bool:
    """Size and content; where the Hub gives no hash of a known kind, the size alone."""
    if target.stat().st_size != remote.size:
        return False
    if _SHA256.fullmatch(remote.etag):
        return _digest(target, hashlib.sha256()) == remote.etag
    if _SHA1.fullmatch(remote.etag):
        blob = hashlib.sha1(f"blob {remote.size}\0".encode(), usedforsecurity=False)
        return _digest(target, blob) == remote.etag
    return True


def set_aside(target: Path, clock: Callable[[], float]) -> Path:
    """Rename a wrong file so that nothing loads it; its record goes."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(clock()))
    names = (
        target.with_name(f"{target.name}.broken-{stamp}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100)))
    )
    aside = next(name for name in names if not name.exists())
    target.rename(aside)
    record_path(target).unlink(missing_ok=True)
    return aside


def _digest(target: Path, digest: hashlib._Hash) -> str:
    with target.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
