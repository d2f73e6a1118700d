"""A SentencePiece model file, read without its library: protocol buffer fields, of which few are of interest.

Numbers of fields from sentencepiece_model.proto (google/sentencepiece).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNIGRAM = 1  # trainer_spec.model_type, the default
CONTROL, USER_DEFINED = 3, 4  # types of a piece
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _UNKNOWN = 3, 40
_CHARSMAP = 2


@dataclass(frozen=True, slots=True)
class SentencePiece:
    """The pieces with their scores in order, and what is done to a text before."""

    kind: int
    scores: tuple[tuple[str, float], ...]
    added: tuple[tuple[str, bool], ...]  # pieces that are a token wherever they stand, and whether it is a mark
    unknown: int
    charsmap: bytes


def read_sentencepiece(path: Path) -> SentencePiece:
    """The model in a file; ValueError where it is none."""
    parts = list(_fields(path.read_bytes()))
    pieces = [_piece(value) for number, value in parts if number == _PIECES and isinstance(value, bytes)]
    trainer = dict(_fields(_message(parts, _TRAINER)))
    normalizer = dict(_fields(_message(parts, _NORMALIZER)))
    if not pieces:
        raise ValueError("no pieces")
    charsmap = normalizer.get(_CHARSMAP, b"")
    return SentencePiece(
        kind=_number(trainer.get(_MODEL_TYPE, UNIGRAM)),
        scores=tuple((text, score) for text, score, _ in pieces),
        added=tuple((text, kind == CONTROL) for text, _, kind in pieces if kind in (CONTROL, USER_DEFINED)),
        unknown=_number(trainer.get(_UNKNOWN, 0)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
    )


def _piece(data: bytes) -> tuple[str, float, int]:
    found = dict(_fields(data))
    text, score = found.get(_PIECE, b""), found.get(_SCORE, b"\0\0\0\0")
    if not isinstance(text, bytes) or not isinstance(score, bytes):
        raise ValueError("not a piece")  # noqa: TRY004 - the file's fault
    return text.decode(), struct.unpack("<f", score)[0], _number(found.get(_TYPE, 1))


def _message(parts: list[tuple[int, int | bytes]], wanted: int) -> bytes:
    return next((value for number, value in parts if number == wanted and isinstance(value, bytes)), b"")


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("not a number")  # noqa: TRY004 - the file's fault
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: a number, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("no protocol buffer")
        if at + length > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no number")
