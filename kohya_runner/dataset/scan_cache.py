"""What was read of image files, kept in the workspace's cache: by what the file system says of each file.

A file is the same one while device, inode, size, mtime and ctime are: nobody but the file system sets the ctime, so an
edit under a restored mtime is noticed. A file that was changed just before it was read is not kept, as a later change
within the same tick of the clock would look the same. SQLite keeps two processes apart; whatever goes wrong with the
file costs speed and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import PIL
from typing_extensions import Self

from kohya_runner.dataset.facts import Image
from kohya_runner.dataset.picture import Picture, Traits
from kohya_runner.safe_files import Stamp, stamp

NAME = "pictures.sqlite3"
VERSION = 2  # of what is kept; another one, or another Pillow, and all is read anew
BATCH = 200  # pictures a transaction
ASKED = 400  # names a query, below SQLite's limit of 999

_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
  folder BLOB NOT NULL, name BLOB NOT NULL, stamp TEXT NOT NULL,
  width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, format TEXT NOT NULL,
  mode TEXT NOT NULL, animated INTEGER NOT NULL, orientation INTEGER NOT NULL, transparent INTEGER NOT NULL,
  clipped INTEGER NOT NULL, signature BLOB NOT NULL, short INTEGER NOT NULL,
  PRIMARY KEY (folder, name)) WITHOUT ROWID
"""
_COLUMNS = (
    "name, stamp, width, height, bytes, sha256, format, mode, animated, orientation, transparent, clipped, "
    "signature, short"
)


class ScanCache:
    """Pictures by folder and name. For one thread, as a context manager; ``readonly`` creates and writes nothing."""

    def __init__(
        self, directory: Path, *, readonly: bool = False, fresh: bool = False, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.file = directory / NAME
        self.readonly, self.fresh, self.clock = readonly, fresh, clock
        self.problem = ""  # why nothing is kept
        self._pending: list[tuple[object, ...]] = []
        self._database = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._close()

    def stamp(self, path: str) -> Stamp | None:
        return stamp(path, self.clock())

    def known(self, folder: Path, names: Collection[str]) -> Mapping[str, Picture]:
        """The pictures of these files that are kept and whose files are still the same."""
        if self._database is None or self.fresh:
            return {}
        found: dict[str, Picture] = {}
        asked = list(names)
        for start in range(0, len(asked), ASKED):
            for encoded, then, *row in self._rows(folder, asked[start : start + ASKED]):
                name = os.fsdecode(encoded)
                now = stamp(f"{folder}/{name}")
                if now is not None and now.text == then:
                    width, height, size, digest, kind, mode, animated, turned, clear, clipped, signature, short = row
                    image = Image(folder / name, width, height, size, digest, format=kind)
                    traits = Traits(mode, bool(animated), turned, clear, bool(clipped), signature, bool(short))
                    found[name] = Picture(image, traits)
        return found

    def keep(self, picture: Picture, before: Stamp | None, after: Stamp | None) -> None:
        """Remember a picture that was read between two stamps; only one that can be used, of a file at rest."""
        traits, image = picture.traits, picture.image
        at_rest = before is not None and after is not None and before.text == after.text and before.settled
        if self._database is None or self.readonly or traits is None or before is None or not at_rest:
            return
        place = (os.fsencode(image.path.parent), os.fsencode(image.path.name), before.text)
        facts = (image.width, image.height, image.bytes, image.sha256, image.format)
        self._pending.append((*place, *facts, *astuple(traits)))
        if len(self._pending) >= BATCH:
            self.flush()

    def forget_others(self, folder: Path, names: Collection[str]) -> None:
        """Drop what is kept of files that are in the folder no more."""
        if self._database is None or self.readonly:
            return
        place, present = os.fsencode(folder), {os.fsencode(name) for name in names}
        with self._guarded():
            kept = self._database.execute("SELECT name FROM pictures WHERE folder = ?", (place,))
            gone = [(place, name) for (name,) in kept if name not in present]
            with self._database:
                self._database.executemany("DELETE FROM pictures WHERE folder = ? AND name = ?", gone)

    def flush(self) -> None:
        rows, self._pending = self._pending, []
        if self._database is None or not rows:
            return
        marks = ", ".join("?" * 15)
        with self._guarded(), self._database:
            self._database.executemany(f"INSERT OR REPLACE INTO pictures VALUES ({marks})", rows)  # noqa: S608

    def _rows(self, folder: Path, names: list[str]) -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * len(names))
        query = f"SELECT {_COLUMNS} FROM pictures WHERE folder = ? AND name IN ({marks})"  # noqa: S608 - marks only
        with self._guarded():
            if self._database is not None:
                return self._database.execute(query, (os.fsencode(folder), *map(os.fsencode, names))).fetchall()
        return []

    def _opened(self) -> sqlite3.Connection | None:
        if self.readonly and not os.path.isfile(self.file):
            return None
        try:
            if not self.readonly:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            return self._connected()
        except sqlite3.OperationalError as error:  # locked, full, forbidden: not ours to remove
            self.problem = str(error)
        except sqlite3.DatabaseError:  # no database at all, or a damaged one
            return self._anew()
        except OSError as error:
            self.problem = error.strerror or str(error)
        return None

    def _anew(self) -> sqlite3.Connection | None:
        if self.readonly:
            return None
        try:
            for suffix in ("", "-journal"):
                self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
            return self._connected()
        except (sqlite3.Error, OSError) as error:
            self.problem = str(error)
        return None

    def _connected(self) -> sqlite3.Connection | None:
        address = f"{self.file.absolute().as_uri()}?mode={'ro' if self.readonly else 'rwc'}"
        database = sqlite3.connect(address, uri=True, timeout=10, isolation_level="DEFERRED")
        try:
            return self._prepared(database)
        except BaseException:
            database.close()
            raise

    def _prepared(self, database: sqlite3.Connection) -> sqlite3.Connection | None:
        """The tables of this version; of another one's a reader makes nothing."""
        major, minor = (int(part) for part in PIL.__version__.split(".")[:2])
        wanted = VERSION * 1_000_000 + major * 1_000 + minor
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if self.readonly:
            if found != wanted:
                database.close()
                return None
            return database
        # no write-ahead log: network volumes cannot share its memory, and a reader would have to write beside it
        database.execute("PRAGMA journal_mode=DELETE")
        with database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] != wanted:
                database.execute("DROP TABLE IF EXISTS pictures")
                database.execute(f"PRAGMA user_version={wanted}")
            database.execute(_TABLE)
        return database

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever SQLite says ends the keeping, never the check."""
        try:
            yield
        except sqlite3.Error as error:
            self.problem = str(error)
            self._close()

    def _close(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None
