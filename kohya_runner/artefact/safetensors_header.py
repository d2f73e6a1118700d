"""The header of a safetensors file, read without any library: strangers' files, so every number is checked.

Eight bytes (little endian) say how long the JSON header is, which names each tensor's type, shape and place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.safe_files import open_file

PRACTICE = "practice"
"""The metadata key that marks a file of the practice trainer; its presence counts, whatever it says."""

LENGTH = 8
MAX_HEADER = 100_000_000  # the limit of safetensors itself
MAX_RANK = 64
LARGEST = 1 << 48
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class HeaderError(ValueError):
    """The header is not one; the message says why, as the rest of a sentence about the file."""


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of every checkpoint of a method: how its name begins, and how many channels it reads, 0 for any."""

    begin: str
    channels: int = 0

    def __str__(self) -> str:
        """As a record contains it: the name, and ``:8`` for the channels."""
        return f"{self.begin}:{self.channels}" if self.channels else self.begin

    @classmethod
    def read(cls, text: str) -> ExpectedTensor | None:
        """What ``str`` made; None of "". Raises ValueError for channels that are no number."""
        begin, _, channels = text.partition(":")
        return cls(begin, int(channels or 0)) if text else None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the header; the offsets count from the end of the header, in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares about itself. ``total`` is the whole file's length in bytes."""

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    total: int

    def length_problem(self, size: int) -> str:
        """What is wrong with a file of ``size`` bytes, as the rest of a sentence about it; "" if it is whole."""
        if size < self.total:
            return f"is cut: {size:,} of {self.total:,} bytes"
        return f"has {size - self.total:,} bytes too many" if size > self.total else ""


def read_header(path: Path) -> Header:
    """The header of a file; ``HeaderError`` for anything else, ``OSError`` where it cannot be read.

    The file may be shorter than the header declares: it is being written, or was cut.
    """
    with open_file(path) as file:
        head = file.read(LENGTH)
        length = int.from_bytes(head, "little")
        if len(head) < LENGTH or not 1 < length <= MAX_HEADER:
            raise HeaderError("has no safetensors header")
        data = file.read(length)
    if len(data) < length:
        raise HeaderError(f"is cut inside its header ({LENGTH + len(data):,} of {LENGTH + length:,} bytes)")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise HeaderError("has a safetensors header that is not JSON") from None
    if not isinstance(value, dict):
        raise HeaderError("has a safetensors header that is not an object")
    metadata = value.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise HeaderError("has metadata that is not text")
    tensors = tuple(sorted((_tensor(name, row) for name, row in value.items()), key=lambda t: (t.begin, t.end)))
    end = 0
    for tensor in tensors:  # one after the other
        if tensor.begin != end:
            raise HeaderError(f"declares tensor '{tensor.name[:80]}' with a gap or an overlap before it")
        end = tensor.end
    return Header(tensors, metadata, LENGTH + len(data) + end)


def _tensor(name: str, row: Any) -> Tensor:
    if not isinstance(row, dict):
        raise HeaderError(f"declares no tensor under '{name[:80]}'")
    dtype, shape, place = row.get("dtype"), _counts(row.get("shape")), _counts(row.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or place is None or len(place) != len(("begin", "end")):
        raise HeaderError(f"declares tensor '{name[:80]}' without type, shape or place")
    begin, end = place
    bits = BITS.get(dtype)
    if begin > end or (bits is not None and math.prod(shape) * bits != (end - begin) * 8):
        raise HeaderError(f"declares tensor '{name[:80]}' with a place that does not fit its shape")
    return Tensor(name, dtype, shape, begin, end)


def _counts(value: object) -> tuple[int, ...] | None:
    """A short list of numbers that can be lengths, None for anything else."""
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return None
    numbers = tuple(n for n in value if type(n) is int and 0 <= n <= LARGEST)
    return numbers if len(numbers) == len(value) else None
