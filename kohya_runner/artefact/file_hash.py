"""The SHA-256 of model files, read once: no gigabytes are read again while the file system says it is the same file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kohya_runner.atomic import write_json
from kohya_runner.file_stamp import stamp

if TYPE_CHECKING:
    from pathlib import Path

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
        row = self._rows().get(str(path.absolute()), {})
        if row.get("stamp") == before.text:
            return row.get("sha256", "")
        try:
            if not self.thorough and path.stat().st_size > QUICK:
                return ""
            found = _read(path)
        except OSError:
            return ""
        after = stamp(str(path))
        if self.thorough and before.settled and after is not None and after.text == before.text:
            self._keep(path, before.text, found)
        return found

    def _rows(self) -> dict[str, dict[str, str]]:
        if self._known is None:
            self._known = _loaded(self.folder / NAME)
        return self._known

    def _keep(self, path: Path, text: str, found: str) -> None:
        rows = {**_loaded(self.folder / NAME), str(path.absolute()): {"stamp": text, "sha256": found}}
        self._known = rows
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / NAME, {"version": VERSION, "files": rows})
        except OSError:
            return  # it costs the time to read it once more, nothing else


def _loaded(file: Path) -> dict[str, dict[str, str]]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = told.get("files") if isinstance(told, dict) and told.get("version") == VERSION else None
    if not isinstance(rows, dict):
        return {}
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def _read(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
