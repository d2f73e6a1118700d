"""Metadata files as data: each row names a picture in the file's own folder and its caption.

``metadata.jsonl`` holds one JSON object a line, ``metadata.json`` one list of them. What such a file says is data of
somebody else: no row leads out of the folder.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.captions import caption_from_text
from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.listing import is_image
from kohya_runner.findings import Finding, error
from kohya_runner.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.dataset.facts import Caption, Image, Source

SUFFIXES = (".json", ".jsonl")
PICTURE = ("file_name", "image", "image_path")
CAPTION = ("text", "caption", "prompt")
EDIT = ("input_image", "instruction", "output_image")
"""The keys of an instruction to change one picture into another: data of the edit methods."""
LARGEST = 256 << 20
SHOWN = 5  # faults of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """A picture by its path below the folder, its caption, and where that stands."""

    name: str
    caption: str | None
    where: str


@dataclass(frozen=True, slots=True)
class MetadataRows:
    """A metadata file that was read; ``faults`` are (place, what is wrong)."""

    rows: tuple[MetadataRow, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    edits: bool = False  # the rows are triples of the edit methods

    def findings(self) -> Iterator[Finding]:
        """The first few faults each, and how many there are besides."""
        hint = f"write {' or '.join(PICTURE)} for the picture and {' or '.join(CAPTION)} for its caption"
        for where, what in self.faults[:SHOWN]:
            yield error("dataset.row", what, where=where, hint=hint)
        if len(self.faults) > SHOWN:
            where = self.faults[SHOWN][0]
            yield error("dataset.row", f"{len(self.faults) - SHOWN} more rows like these", where=where, hint=hint)


def is_rows_file(path: Path) -> bool:
    """Whether ``images`` names a metadata file and not a folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_rows(path: Path) -> MetadataRows:
    """Every row and every fault of a metadata file."""
    try:
        if path.stat().st_size > LARGEST:
            return MetadataRows(faults=((str(path), "is too large for a list of pictures"),))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        return MetadataRows(faults=((str(path), f"cannot be read: {getattr(fault, 'strerror', None) or fault}"),))
    found = list(_lines(path, text) if path.suffix.lower() == ".jsonl" else _list(path, text))
    if any(isinstance(value, dict) and any(key in value for key in EDIT) for _, value in found):
        return MetadataRows(edits=True)
    rows: list[MetadataRow] = []
    faults: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for where, value in found:
        row = _row(where, value)
        if isinstance(row, str):
            faults.append((where, row))
        elif row.name in seen:
            faults.append((where, f"names {printable(row.name)} again, which {seen[row.name]} names already"))
        else:
            seen[row.name] = where
            rows.append(row)
    return MetadataRows(tuple(sorted(rows, key=lambda row: row.name)), tuple(faults))


def surveyed_captions(rows: MetadataRows) -> dict[str, Caption]:
    """The captions by the picture's name; they are written into the laid-out tree."""
    return {row.name: caption_from_text(row.caption, row.where) for row in rows.rows if row.caption is not None}


def scan_of(source: Source, rows: MetadataRows, images: tuple[Image, ...]) -> Scan:
    """The scan that a folder with these pictures and captions would give."""
    captions = surveyed_captions(rows)
    named = zip(images, rows.rows, strict=True)
    return Scan(source, tuple(replace(image, caption=captions.get(row.name)) for image, row in named))


class _Unreadable:
    """Stands for a line that is no JSON; ``what`` says why."""

    def __init__(self, what: str) -> None:
        self.what = what


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}:1", _parsed(line)


def _list(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    value = _parsed(text)
    if isinstance(value, _Unreadable):
        yield f"{path}:1:1", value
    elif not isinstance(value, list):
        yield f"{path}:1:1", _Unreadable("must be a list of rows: [{...}, {...}]")
    else:
        yield from ((f"{path}: row {number}", row) for number, row in enumerate(value, start=1))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        return _Unreadable(f"is not valid JSON: {fault}")


def _row(where: str, value: Any) -> MetadataRow | str:
    """The row, or what is wrong with it."""
    if isinstance(value, _Unreadable):
        return value.what
    if not isinstance(value, dict):
        return "must be a mapping with the picture and its caption"
    name, caption = _one(value, PICTURE), _one(value, CAPTION)
    if not isinstance(name, str) or not name:
        return "names no picture"
    if caption is not None and not isinstance(caption, str):
        return "has a caption that is not text"
    return _named(where, name, caption)


def _named(where: str, name: str, caption: str | None) -> MetadataRow | str:
    """The row of a picture in the folder; no other is taken."""
    plain = posixpath.normpath(name.replace("\\", "/"))
    outside = plain.startswith(("/", "../")) or plain == ".." or ":" in plain.split("/")[0]
    if outside or "\0" in plain:
        return f"leads out of the folder of the metadata file: {printable(name)}"
    if not is_image(posixpath.basename(plain)):
        return f"names {printable(name)}, which is not an image the trainer reads"
    return MetadataRow(plain, caption, where)


def _one(value: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)
