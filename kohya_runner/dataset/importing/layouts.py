"""What a source says of its pictures: captions in metadata files or beside them, concepts in the names of folders."""

from __future__ import annotations

import csv
import io
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kohya_runner.dataset import captions, metadata_rows
from kohya_runner.dataset.caption_rows import CAPTION
from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.folder_checks import OTHER_PICTURES
from kohya_runner.dataset.importing.source_files import SourceFiles, UnreadableError
from kohya_runner.dataset.layout import concept_problem
from kohya_runner.dataset.metadata_rows import PICTURE, Fault, MetadataRow, MetadataRows
from kohya_runner.safe_files import open_file
from kohya_runner.text import printable, repeats_and_token

METADATA = re.compile(r"(?:metadata|meta_|captions?\b).*\.(?:jsonl?|csv|tsv|parquet)", re.IGNORECASE)
"""Names of metadata files that are looked for; one that is named is read whatever it is called."""
ENDINGS = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
COLUMNS = (*PICTURE, "filename", "file", "path")
BESIDE = (".txt", ".caption")
REGULARIZATION = ("reg", "regularization")


@dataclass(frozen=True, slots=True)
class ImportItem:
    """A picture of a source. ``folder``: ``10_ohwx``, ``reg/1_photo``, or "" where nothing tells a concept."""

    name: str
    caption: str | None = None  # of a metadata file
    beside: str = ""  # the caption file of the source
    folder: str = ""
    fault: str = ""  # what is wrong with the caption of the metadata file


@dataclass(frozen=True, slots=True)
class ImportLayout:
    """All that a source holds; ``others`` are files that are neither pictures nor captions."""

    items: tuple[ImportItem, ...]
    faults: tuple[Fault, ...] = ()
    others: tuple[str, ...] = ()


def read_layout(files: SourceFiles, listing: Path | None, split_by: str) -> ImportLayout:
    """The pictures of a source; only those that a metadata file names where one is named."""
    pictures = {name for name in files.sizes if captions.is_image(posixpath.basename(name))
                or posixpath.splitext(name)[1].lower() in OTHER_PICTURES}  # fmt: skip
    named = sorted(name for name in files.sizes if METADATA.fullmatch(posixpath.basename(name)))
    read = [("", _rows(printable(str(listing)), partial(_content, listing)))] if listing else [
        (name, _rows(files.place(name), partial(files.read, name, metadata_rows.LARGEST))) for name in named
    ]  # fmt: skip
    rows, faults = dict[str, MetadataRow](), [fault for _, one in read for fault in one.faults]
    finder = _Finder(pictures)
    for name, row in ((name, row) for name, one in read for row in one.rows):
        said = next((row.values[key] for key in COLUMNS if row.values.get(key)), None)
        found = finder.find(posixpath.dirname(name), said)
        if found not in pictures:
            faults.append(Fault(row.place, found))
        elif rows.setdefault(found, row) is not row:
            faults.append(Fault(row.place, f"names {printable(found)} again, which {rows[found].place} names already"))
    chosen = sorted(rows if listing else pictures)
    items = []
    for name in chosen:
        values = rows[name].values if name in rows else {}
        text, fault = _caption(values)
        beside = next((f"{stem(name)}{end}" for end in BESIDE if f"{stem(name)}{end}" in files.sizes), "")
        items.append(ImportItem(name, text, beside, _folder(name, values, split_by), fault))
    wrong = [Fault(rows[one.name].place, one.fault) for one in items if one.fault]
    used = {*pictures, *named, *(item.beside for item in items)}
    others = () if listing else tuple(sorted(files.sizes.keys() - used))
    return ImportLayout(tuple(items), (*faults, *wrong), others)


def _content(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(metadata_rows.LARGEST + 1)


def _rows(place: str, content: Callable[[], bytes]) -> MetadataRows:
    try:
        data = content()
    except (OSError, UnreadableError) as fault:
        why = f"cannot be read: {fault.strerror or fault}" if isinstance(fault, OSError) else str(fault)
        return MetadataRows(faults=(Fault(f"{place}:1:1", why),))
    ending = posixpath.splitext(place)[1].lower()
    if ending == ".parquet":
        what = "is Parquet, which is not read: save it as metadata.jsonl"
        return MetadataRows(faults=(Fault(f"{place}:1:1", what),))
    read = metadata_rows.parse_rows(place, data, _table if ending in (".csv", ".tsv") else None)
    if any(key in row.values for row in read.rows[:1] for key in metadata_rows.KEYS):
        return MetadataRows(faults=(Fault(f"{place}:1:1", "lists edits: a recipe names it as it is, `images: FILE`"),))
    return read


def _table(name: str, text: str) -> Iterator[MetadataRow | Fault]:
    """The rows of a CSV file, with a line of column names or without one."""
    first = text.partition("\n")[0].lower()
    named = (sign for sign in ",;\t|" if {*(cell.strip('" \r') for cell in first.split(sign))} & {*COLUMNS})
    sign = next(named, "\t" if "\t" in first else ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            place, line = f"{name}:{line}:1", reader.line_num + 1
            if not header:
                header = [cell.strip().lower() for cell in cells]
                if {*header} & {*COLUMNS}:
                    continue
                header = [PICTURE[0], CAPTION[0]]
            if len(cells) > len(header):
                what = f"has {len(cells)} columns and not {len(header)}"
                yield Fault(place, what, "put a text with commas in quotes")
            elif any(cells):
                yield MetadataRow(reader.line_num, place, dict(zip(header, cells, strict=False)))
    except csv.Error as fault:
        yield Fault(f"{name}:{reader.line_num}:1", f"is not CSV: {fault}")


class _Finder:
    """Pictures by what a row may call them: nothing that is not listed is found, so no name leads out."""

    def __init__(self, pictures: Iterable[str]) -> None:
        self.known: dict[str, str] = {}
        for name in sorted(pictures, reverse=True):
            self.known[_plain(stem(name))] = name
        self.known |= {_plain(name): name for name in pictures}

    def find(self, base: str, said: object) -> str:
        """The picture, or why there is none. An absolute path is looked for by its end: datasets move."""
        if not isinstance(said, str) or not said.strip():
            return "names no picture"
        plain = _plain(said.replace("\\", "/"))
        parts = plain.split("/")
        absolute = plain.startswith("/") or parts[0].endswith(":")
        ends = ["/".join(parts[n:]) for n in range(1, len(parts))] if absolute else [plain]
        paths = (posixpath.normpath(posixpath.join(folder, end)) for end in ends for folder in (_plain(base), ""))
        found = next((self.known[path] for path in paths if path in self.known), "")
        return found or f"names {printable(said)}, which is not there"


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _caption(values: Mapping[str, Any]) -> tuple[str | None, str]:
    """The caption of a row and what is wrong with it; tags go behind it (library/finetuning_dataset.py:197)."""
    text = next((values[key] for key in CAPTION if values.get(key) is not None), None)
    tags = values.get("tags")
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        tags = ", ".join(tags)
    if not all(one is None or isinstance(one, str) for one in (text, tags)):
        return None, "has a caption that is not text"
    joined = ", ".join(one for one in (text, tags) if one)
    if printable(joined) != joined:
        return None, "has a caption with half a sign, which is no text"
    return (None if text is None and tags is None else joined), ""


def _folder(name: str, told: Mapping[str, Any], split_by: str) -> str:
    *above, _ = name.split("/")
    if split_by:
        said = told.get(split_by)
        concept = str(said if said not in (None, "") else above[-1] if above else "")
        repeats, token = repeats_and_token(concept)
        return _named(repeats or 1, token or concept, above)
    for one in reversed(above):
        repeats, token = repeats_and_token(one)
        if repeats and token:
            return _named(repeats, token, above)
    return ""


def _named(repeats: int, concept: str, above: Iterable[str]) -> str:
    plain = "".join(sign if sign.isprintable() and sign != "/" else "_" for sign in concept).strip()
    if concept_problem(plain):
        return ""
    return ("reg/" if any(one.lower() in REGULARIZATION for one in above) else "") + f"{repeats}_{plain}"
