"""The files of a folder or of a zip file, listed and read without a way out of it."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.prepare.manifest import source_stamp
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.safe_files import open_file
from kohya_runner.text import printable, size

LARGEST = 512 << 20  # bytes of one file
MOST = 1_000_000  # files of a zip file
BOMB = 1 << 30  # bytes: a zip file that holds more is looked at for
RATIO = 100  # times its own size; pictures are compressed already
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]{2}")
"""One such sign alone may be two of Europe's: in cp437 and cp932 the same bytes are letters."""
_DRIVE = re.compile(r"[A-Za-z]:")


class UnreadableError(Exception):
    """Why a file cannot be read to its end."""


class SourceFiles:
    """A folder: ``sizes`` by path below it, what is not taken and why. Dotfiles are passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        self._list()

    def _list(self) -> None:
        source = Source(self.path, "")
        for base, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(one for one in names if not one.startswith(".")):
                path = Path(base, name)
                below = path.relative_to(self.path).as_posix()
                try:
                    self._take(below, path.stat().st_size, source.refuses(path))
                except OSError as fault:
                    self._take(below, 0, f"cannot be read: {fault.strerror or fault}")

    def _take(self, name: str, count: int, why: str = "") -> None:
        if why or count > LARGEST:
            self.refused[name] = why or f"is larger than {size(LARGEST)}"
        else:
            self.sizes[name] = count

    def place(self, name: str) -> str:
        """What a file is called in the manifest and in findings."""
        return printable(str(self.path / name))

    def stamp(self, name: str) -> str:
        """Where it is as before, so is the file."""
        return source_stamp(self.path / name)

    def open(self, name: str) -> IO[bytes]:
        return open_file(self.path / name)

    def read(self, name: str, most: int = LARGEST) -> bytes:
        """The content of a file.

        Raises:
            UnreadableError: it is too large, damaged, gone, or another one than was listed.
        """
        if self.sizes[name] > most:
            raise UnreadableError(f"is larger than {size(most)}")
        try:
            with self.open(name) as file:
                data = file.read(self.sizes[name] + 1)  # to its end, where a zip file's checksum is looked at
        except Exception as fault:  # noqa: BLE001 - a broken zip file makes decoders raise nearly anything
            why = getattr(fault, "strerror", None) or str(fault) or "its data ends too early"
            raise UnreadableError(f"cannot be read: {why}") from None
        if len(data) != self.sizes[name]:
            raise UnreadableError("cannot be read: it has another size than is stated")
        return data


class ZipFiles(SourceFiles):
    """A zip file: a member that leads out of it, is a link or is encrypted is refused, and so is a bomb as a whole."""

    def _list(self) -> None:
        try:
            self.zip = ZipFile(self.path)
            members = self.zip.infolist()
        except Exception as fault:  # noqa: BLE001 - as above
            raise DatasetError(f"{self.path} is not a whole zip file: {fault}", hint="get it again") from None
        total, packed = sum(one.file_size for one in members), self.path.stat().st_size
        if len(members) > MOST or (total > BOMB and total > RATIO * packed):
            text = f"{self.path}: {size(packed)} that become {size(total)} in {len(members)} files"
            raise DatasetError(text, hint="unpack it yourself, if you trust it, and import the folder")
        self.members: dict[str, ZipInfo] = {}
        for one in members:
            name = _name(one)
            hidden = any(part.startswith(".") and part != ".." for part in name.split("/"))
            if hidden or one.filename.endswith("/") or "__MACOSX/" in name:
                continue
            if name in self.members:
                self._take(f"{name} (again)", one.file_size, "is there twice")
            else:
                self._take(name, one.file_size, _unsafe(one, name))
            self.members.setdefault(name, one)
        self._stamp = source_stamp(self.path)

    def place(self, name: str) -> str:
        return f"{printable(str(self.path))}!{printable(name)}"

    def stamp(self, name: str) -> str:
        return f"{self._stamp} {self.members[name].CRC:08x}"

    def open(self, name: str) -> IO[bytes]:
        return self.zip.open(self.members[name])


def _name(one: ZipInfo) -> str:
    """The name of a member: programs that write UTF-8 without saying so are common, and so is Japanese Windows."""
    name = one.filename
    if not one.flag_bits & 0x800:
        for encoding, sure in (("cp932", _JAPANESE.search), ("utf-8", bool)):
            with suppress(UnicodeError):
                said = one.filename.encode("cp437").decode(encoding)
                name = said if sure(said) else name
    return "/".join(part for part in name.replace("\\", "/").split("/") if part != ".")


def _unsafe(one: ZipInfo, name: str) -> str:
    kind = stat.S_IFMT(one.external_attr >> 16) if one.create_system == 3 else 0
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/") or "\0" in one.orig_filename:
        return "has a path that leads out of the zip file"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return "is encrypted" if one.flag_bits & 1 else ""


def open_source(path: Path) -> SourceFiles:
    """The files of a folder or of a zip file.

    Raises:
        UsageError: there is nothing of that name.
        DatasetError: a zip file that is damaged or would fill the disk.
    """
    if path.is_dir():
        return SourceFiles(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return ZipFiles(path)
    raise UsageError(f"{path}: there is no such folder, zip file or metadata file")
