"""Metadata files as data: each row names a picture in the file's own folder and its caption.

``metadata.jsonl`` holds one JSON object a line, ``metadata.json`` one list of them. What such a file says is data of
somebody else: no row leads out of the folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kohya_runner.dataset import metadata_rows
from kohya_runner.dataset.captions import caption_from_text, is_image
from kohya_runner.dataset.facts import IMAGE_FORMATS, Image, Scan, Source
from kohya_runner.dataset.metadata_rows import PICTURE
from kohya_runner.findings import Finding, error
from kohya_runner.text import printable

CAPTION = ("text", "caption", "prompt")
SHOWN = 5  # faults of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A picture by its path below the folder, its caption, and where that stands."""

    name: str
    caption: str | None
    where: str


@dataclass(frozen=True, slots=True)
class CaptionRows:
    """A metadata file that was read; ``faults`` are (place, what is wrong)."""

    rows: tuple[CaptionRow, ...] = ()
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


def read_rows(path: Path) -> CaptionRows:
    """Every row and every fault of a metadata file, each at its line and column."""
    read = metadata_rows.read_rows(path)
    if any(key in row.values for row in read.rows for key in metadata_rows.KEYS):
        return CaptionRows(edits=True)
    rows: dict[str, CaptionRow] = {}
    faults = [(fault.where, fault.what) for fault in read.faults]
    for one in read.rows:
        row = _row(one.place, one.values, path.parent)
        if isinstance(row, str):
            faults.append((one.place, row))
        elif row.name in rows:
            faults.append((one.place, f"names {printable(row.name)} again, which {rows[row.name].where} names already"))
        else:
            rows[row.name] = row
    return CaptionRows(tuple(rows[name] for name in sorted(rows)), tuple(faults))


def scan_of(source: Source, rows: CaptionRows, images: tuple[Image, ...]) -> Scan:
    """The scan that a folder with these pictures and captions would give."""
    named = zip(images, rows.rows, strict=True)
    captions = ((i, None if r.caption is None else caption_from_text(r.caption, r.where)) for i, r in named)
    return Scan(source, tuple(replace(image, caption=caption) for image, caption in captions))


def _row(where: str, value: Mapping[str, Any], folder: Path) -> CaptionRow | str:
    """The row, or what is wrong with it. Tags follow a caption, a name may lack its ending, as sd-scripts has them."""
    name, caption, tags = _one(value, PICTURE), _one(value, CAPTION), value.get("tags")
    if isinstance(tags, str) and tags:
        caption = f"{caption},{tags}" if isinstance(caption, str) and caption else tags
    if isinstance(name, str) and name and not is_image(name):
        beside = (f"{name}{ending}" for ending in IMAGE_FORMATS)
        name = next((one for one in beside if (folder / one).is_file()), name)
    if not isinstance(name, str) or not name:
        return "names no picture"
    if caption is not None and not isinstance(caption, str):
        return "has a caption that is not text"
    return _named(where, name, caption)


def _named(where: str, name: str, caption: str | None) -> CaptionRow | str:
    """The row of a picture in the folder; no other is taken."""
    plain = posixpath.normpath(name.replace("\\", "/"))
    outside = plain.startswith(("/", "../")) or plain == ".." or ":" in plain.split("/")[0]
    if outside or "\0" in plain:
        return f"leads out of the folder of the metadata file: {printable(name)}"
    if not is_image(posixpath.basename(plain)):
        return f"names {printable(name)}, which is not an image the trainer reads"
    return CaptionRow(plain, caption, where)


def _one(value: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)
