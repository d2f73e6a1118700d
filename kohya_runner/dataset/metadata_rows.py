"""The rows of a metadata file, each value with its line and column: captions of pictures, or edits (three keys a row).

``metadata.jsonl`` holds one JSON object a line, ``metadata.json`` a list of the same objects.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # what JSONDecoder itself reads names with
from pathlib import Path
from typing import Any

from kohya_runner.safe_files import open_file
from kohya_runner.text import printable, size

INPUT, INSTRUCTION, OUTPUT = KEYS = ("input_image", "instruction", "output_image")
PICTURE = ("file_name", "image", "image_path")
"""What a row calls the one picture of a dataset that is not of edits."""
LARGEST = 256 << 20  # bytes of a metadata file

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the file at one place."""

    where: str  # file:line:column
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One object of the file as it stands there."""

    line: int
    place: str  # file:line:column of the object
    values: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)  # file:line:column of each name
    places: Mapping[str, str] = field(default_factory=dict)  # file:line:column of each value

    def where(self, key: str) -> str:
        """Where a value stands, else its row."""
        return self.places.get(key, self.place)


@dataclass(frozen=True, slots=True)
class MetadataRows:
    """A metadata file as read: its rows in order, and every place that could not be read."""

    rows: tuple[MetadataRow, ...] = ()
    faults: tuple[Fault, ...] = ()


def read_rows(path: Path) -> MetadataRows:
    """The rows of a metadata file. Nothing is raised for what the file says; one bad line leaves the others."""
    try:
        with open_file(path) as file:
            data = file.read(LARGEST + 1)
    except OSError as fault:
        return MetadataRows(faults=(Fault(f"{path}:1:1", f"cannot be read: {fault.strerror or fault}"),))
    return parse_rows(printable(str(path)), data)


def parse_rows(
    name: str, data: bytes, parse: Callable[[str, str], Iterable[MetadataRow | Fault]] | None = None
) -> MetadataRows:
    """The rows of a metadata file's content; ``parse`` is for other forms than lists and lines of objects."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        return MetadataRows(faults=(Fault(f"{name}:1:1", f"is not UTF-8 (byte {fault.start})", "save it as UTF-8"),))
    if len(data) > LARGEST:
        return MetadataRows(faults=(Fault(f"{name}:1:1", f"is larger than {size(LARGEST)}"),))
    keyed = keyed_rows if text.lstrip().startswith("{") and text.strip() != "{}" else _listed_rows
    usual = _lines if name.lower().endswith(".jsonl") else keyed
    found = tuple((parse or usual)(name, text))
    faults = tuple(item for item in found if isinstance(item, Fault))
    return MetadataRows(tuple(item for item in found if isinstance(item, MetadataRow)), faults)


def keyed_rows(name: str, text: str) -> Iterator[MetadataRow | Fault]:
    """Of sd-scripts' metadata: one object, in which each picture names an object of its own, or its caption."""
    found = _Page(name, text).only()
    if isinstance(found, Fault):
        yield found
        return
    for key, value in found.values.items():
        place = found.keys[key]
        values = {"text": value} if isinstance(value, str) else value
        if isinstance(values, dict):
            yield MetadataRow(int(place.rsplit(":", 2)[1]), place, {**values, PICTURE[0]: key})
        else:
            yield Fault(place, "is neither a caption nor an object with one")


def is_edit(path: Path) -> bool:
    """Whether a metadata file is of edits: its first row has one of the three keys, or no single picture."""
    first = _first(path)
    return first is not None and (any(key in first.values for key in KEYS) or not {*PICTURE} & {*first.values})


def _first(path: Path) -> MetadataRow | None:
    """The first row, without reading all lines of a long file."""
    if path.suffix.lower() != ".jsonl":
        return next(iter(read_rows(path).rows), None)
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip()), "")
    except (OSError, ValueError):
        return None
    row = _Page("", line).only() if line else None
    return row if isinstance(row, MetadataRow) else None


def _listed_rows(name: str, text: str) -> Iterator[MetadataRow | Fault]:
    """Of one JSON list: a fault ends the reading, as nobody knows where the next entry begins."""
    return _Page(name, text).entries()


def _lines(name: str, text: str) -> Iterator[MetadataRow | Fault]:
    """Of JSON lines: blank ones are passed over."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _Page(name, line, number).only()


class _Page:
    """A text of the file that begins at a line of it, and positions in it."""

    def __init__(self, name: str, text: str, first: int = 1) -> None:
        self.name, self.text, self.first = name, text, first
        self._lines = [0]  # where each line begins
        self._lines += [found.end() for found in re.finditer(r"\n", text)]
        self._last = 0

    def only(self) -> MetadataRow | Fault:
        """The one object of a line, and nothing after it."""
        try:
            row, after = self._row(self._skip(0))
            self._end(after, "the object")
        except _NoJsonError as fault:
            return Fault(self.place(fault.position), fault.what, "write one JSON object a line, in double quotes")
        return row

    def entries(self) -> Iterator[MetadataRow | Fault]:
        position = self._skip(0)
        try:
            if self.text[position : position + 1] != "[":
                raise _NoJsonError(position, "is not a list of objects")  # noqa: TRY301 - told below
            position = self._skip(position + 1)
            while self.text[position : position + 1] != "]":
                row, position = self._row(position)
                yield row
                position = self._after_item(position, "]")
            self._end(position + 1, "the list")
        except _NoJsonError as fault:
            hint = "write a list of objects, or one object a line as .jsonl"
            yield Fault(self.place(fault.position), fault.what, hint)

    def _end(self, position: int, what: str) -> None:
        """Nothing but blanks may follow."""
        rest = self._skip(position)
        if rest < len(self.text):
            raise _NoJsonError(rest, f"has something after {what}")

    def _row(self, begin: int) -> tuple[MetadataRow, int]:
        """The object that begins here, and where it ends."""
        if self.text[begin : begin + 1] != "{":
            raise _NoJsonError(begin, "is not a JSON object")
        values: dict[str, Any] = {}
        keys: dict[str, str] = {}
        places: dict[str, str] = {}
        position = self._skip(begin + 1)
        while self.text[position : position + 1] != "}":
            key, value_at = self._name(position)
            if key in keys:
                raise _NoJsonError(position, f"names '{printable(key)}' twice")
            keys[key], places[key] = self.place(position), self.place(value_at)
            try:
                values[key], position = _DECODER.raw_decode(self.text, value_at)
            except json.JSONDecodeError as fault:
                raise _NoJsonError(fault.pos, f"is not valid JSON: {fault.msg}") from None
            except RecursionError:
                raise _NoJsonError(value_at, "is nested too deeply") from None
            position = self._after_item(position, "}")
        return MetadataRow(self._line(begin) + self.first, self.place(begin), values, keys, places), position + 1

    def _name(self, position: int) -> tuple[str, int]:
        if self.text[position : position + 1] != '"':
            raise _NoJsonError(position, "has no key in double quotes here")
        try:
            key, after = scanstring(self.text, position + 1, True)
        except json.JSONDecodeError as fault:
            raise _NoJsonError(fault.pos, f"is not valid JSON: {fault.msg}") from None
        colon = self._skip(after)
        if self.text[colon : colon + 1] != ":":
            raise _NoJsonError(colon, "has no ':' after a key")
        return key, self._skip(colon + 1)

    def _after_item(self, position: int, closing: str) -> int:
        """Past the comma, or at the closing bracket."""
        position = self._skip(position)
        sign = self.text[position : position + 1]
        if sign == closing:
            return position
        after = self._skip(position + 1)
        if sign != "," or self.text[after : after + 1] == closing:
            raise _NoJsonError(position, f"has no ',' or '{closing}' here" if sign != "," else "ends with a comma")
        return after

    def _skip(self, position: int) -> int:
        found = _BLANK.match(self.text, position)
        return found.end() if found else position

    def _line(self, position: int) -> int:
        """Positions are asked for in rising order nearly always."""
        if position < self._lines[self._last]:
            self._last = 0
        while self._last + 1 < len(self._lines) and self._lines[self._last + 1] <= position:
            self._last += 1
        return self._last

    def place(self, position: int) -> str:
        line = self._line(position)
        return f"{self.name}:{line + self.first}:{position - self._lines[line] + 1}"


class _NoJsonError(Exception):
    def __init__(self, position: int, what: str) -> None:
        super().__init__(what)
        self.position, self.what = position, what
