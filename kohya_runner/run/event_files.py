"""TensorBoard's event files, read and written with the standard library: scalars only. And a run's metrics as such.

A file is a row of TFRecords (length, its checksum, data, its checksum), each a protobuf ``Event``: 1 the wall time, 2
the step, 3 the file's version, 5 a ``Summary`` of values: 1 the tag, 2 the number. torch's ``add_scalar`` writes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.errors import UsageError
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import Metrics, StepLine, json_number
from kohya_runner.safe_files import open_file, write_bytes

MARK = ".tfevents."
AT_ONCE = 1 << 20  # bytes of a file that are taken in at one look
_LARGEST = 1 << 18  # bytes; a longer record holds a picture or a text, no scalar
_HEAD = struct.Struct("<QI")
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_LENGTHS = {_DOUBLE: 8, _FLOAT: 4}
_CASTAGNOLI = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Scalar:
    t: float
    step: int
    tag: str
    value: float


class BrokenError(ValueError):
    """The file does not say what it should from here on."""


def _table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
        return value

    return tuple(map(entry, range(256)))


_TABLE = _table()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of a TFRecord."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class EventFile:
    """One file that may still grow; a record that is not whole yet is read at the next look, a broken one ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False
        self._offset = 0

    def read(self) -> list[Scalar]:
        """The scalars that came since the last look, at most ``AT_ONCE`` bytes of them."""
        found: list[Scalar] = []
        try:
            for data in () if self.broken else self._records():
                found += scalars(data)
        except BrokenError:
            self.broken = True
        return found

    def _records(self) -> Iterator[bytes]:
        try:
            with open_file(self.path) as file:
                file.seek(self._offset)
                data = file.read(AT_ONCE + _LARGEST)
        except OSError:
            return
        place = 0
        while place < AT_ONCE and len(data) - place >= _HEAD.size:
            length, crc = _HEAD.unpack_from(data, place)
            if checksum(data[place : place + 8]) != crc:
                raise BrokenError
            end = place + _HEAD.size + length + 4
            if length <= _LARGEST:
                if end > len(data):
                    return
                record = data[place + _HEAD.size : end - 4]
                if checksum(record) != int.from_bytes(data[end - 4 : end], "little"):
                    raise BrokenError
                yield record
            self._offset += end - place
            place = end


def scalars(event: bytes) -> list[Scalar]:
    """The scalars of one event; ``BrokenError`` where it is none."""
    t, step, found = 0.0, 0, []
    for number, value in _fields(event):
        match number, value:
            case 1, float():
                t = value
            case 2, int():
                step = value
            case 5, bytes():
                found += [
                    pair for n, one in _fields(value) if n == 1 and isinstance(one, bytes) for pair in _value(one)
                ]
            case _:
                pass
    return [Scalar(t, step, tag, value) for tag, value in found]


def _value(data: bytes) -> list[tuple[str, float]]:
    known = dict(_fields(data))
    match known.get(1), known.get(2):
        case bytes() as tag, float() as value:
            return [(tag.decode("utf-8", "replace"), value)]
        case _:
            return []


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of every field of a message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        length, place = _varint(data, place) if kind == _BYTES else (_LENGTHS.get(kind, len(data) + 1), place)
        piece, place = data[place : place + length], place + length
        if len(piece) != length:
            raise BrokenError
        yield number, piece if kind == _BYTES else struct.unpack("<d" if kind == _DOUBLE else "<f", piece)[0]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise BrokenError
        byte, place = data[place], place + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise BrokenError


def version_record(t: float) -> bytes:
    """The record that every file begins with."""
    return _record(b"\x09" + struct.pack("<d", t) + _text(3, b"brain.Event:2"))


def scalar_record(scalar: Scalar) -> bytes:
    value = _text(1, scalar.tag.encode()) + b"\x15" + struct.pack("<f", scalar.value)
    step = b"\x10" + _as_varint(scalar.step)
    return _record(b"\x09" + struct.pack("<d", scalar.t) + step + _text(5, _text(1, value)))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    crcs = (checksum(length).to_bytes(4, "little"), checksum(data).to_bytes(4, "little"))
    return length + crcs[0] + data + crcs[1]


def _text(number: int, data: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(data)) + data


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def step_json(step: StepLine) -> dict[str, Any]:
    values = {"step": step.step, "t": step.t, "epoch": step.epoch, "loss": step.loss, "current": step.current,
              "seconds_per_step": step.seconds_per_step, "lr": dict(step.lr) or None}  # fmt: skip
    return {name: json_number(value) for name, value in values.items() if value is not None}


def event_file(view: RunView, found: Metrics, folder: Path) -> Path:
    """Write the metrics of a run into ``folder/<name>-<run id>/``; the file."""
    if not found.steps:
        raise UsageError(
            f"{view.path}: nothing was measured", hint="the run has had no step yet, or an older version wrote it"
        )
    t = found.steps[0].t
    path = folder / f"{view.name}-{view.run_id}" / f"events.out{MARK}{int(t)}.kohya-runner"
    try:
        write_bytes(path, version_record(t) + b"".join(scalar_record(one) for one in _scalars(found)))
    except OSError as fault:
        raise UsageError(f"--tensorboard {folder}: {fault.strerror or fault}") from fault
    return path


def _scalars(found: Metrics) -> Iterator[Scalar]:
    """Under the trainer's own tags (train_network.py:86), so that curves of both lie over one another."""
    for step in found.steps:
        rates = {f"lr/{name}": value for name, value in step.lr.items()}
        values = {"loss/average": step.loss, "loss/current": step.current, "seconds_per_step": step.seconds_per_step}
        for tag, value in {**values, **rates}.items():
            if value is not None:
                yield Scalar(step.t, step.step, tag, value)
