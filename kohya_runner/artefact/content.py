"""The inside of a checkpoint, read once from end to end: its hash, NaN and infinity, untrained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from kohya_runner.artefact.safetensors_header import LENGTH, Tensor, read_header
from kohya_runner.safe_files import open_file
from kohya_runner.text import printable

PIECE = 4 << 20
"""Bytes; a multiple of every type's width."""
UPS = (
    ".lora_up.weight", ".lora_B.weight", ".lora_B.default.weight", ".lora.up.weight", ".hada_w2_a", ".lokr_w2",
    ".lokr_w2_b", ".oft_blocks", ".diff",
)  # fmt: skip
"""Weights that begin as zeros (networks/lora.py:77): where all of them still are, nothing was trained."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was found. ``nonfinite`` and ``zero`` count tensors, ``first`` is the first of the former."""

    sha256: str
    tensors: int = 0
    nonfinite: int = 0
    first: str = ""
    ups: int = 0
    zero: int = 0

    @property
    def untrained(self) -> bool:
        """Whether none of the weights that begin as zeros has moved."""
        return 0 < self.ups == self.zero

    @property
    def problem(self) -> str:
        """The rest of a sentence about the file, "" where nothing is wrong with its numbers."""
        if self.nonfinite:
            return f"contains NaN or infinity in {self.nonfinite} of {self.tensors} tensors, first in {self.first}"
        return "is untrained: all its up weights are zero" if self.untrained else ""


def examining(path: Path) -> Iterator[Content | None]:
    """None after each piece, the findings at the end: who reads along decides when to go on.

    The numbers of other files than safetensors are not looked at. ``HeaderError`` or ``OSError`` where the file cannot
    be read.
    """
    digest = hashlib.sha256()
    header = read_header(path) if path.suffix == ".safetensors" else None
    with open_file(path) as file:
        if header is None:
            while data := file.read(PIECE):
                digest.update(data)
                yield None
            yield Content(digest.hexdigest())
            return
        begin = header.total - max((tensor.end for tensor in header.tensors), default=0)
        digest.update(file.read(begin))
        tally = _Tally(len(header.tensors))
        for tensor in header.tensors:
            for data in _pieces(file, tensor):
                digest.update(data)
                tally.add(tensor, data)
                yield None
            tally.close(tensor)
    yield tally.content(digest.hexdigest())


def examine(path: Path) -> Content:
    *_, found = examining(path)
    assert found is not None  # noqa: S101 - what comes last
    return found


def _pieces(file: BinaryIO, tensor: Tensor) -> Iterator[bytes]:
    left = tensor.end - tensor.begin
    while left:
        data = file.read(min(left, PIECE))
        if not data:
            raise OSError("the file became shorter while it was read")
        left -= len(data)
        yield data


class _Tally:
    def __init__(self, tensors: int) -> None:
        self._tensors = tensors
        self._nonfinite: list[str] = []
        self._ups = self._zero = 0
        self._bad, self._moved = False, False

    def add(self, tensor: Tensor, data: bytes) -> None:
        """A piece of a tensor; what is known already is not looked for again."""
        self._bad = self._bad or has_nonfinite(tensor.dtype, data)
        if tensor.name.endswith(UPS):
            self._moved = self._moved or not is_zero(tensor.dtype, data)

    def close(self, tensor: Tensor) -> None:
        if self._bad:
            self._nonfinite.append(printable(tensor.name[:120]))
        if tensor.name.endswith(UPS):
            self._ups += 1
            self._zero += not self._moved
        self._bad, self._moved = False, False

    def content(self, sha256: str) -> Content:
        first = self._nonfinite[0] if self._nonfinite else ""
        return Content(sha256, self._tensors, len(self._nonfinite), first, self._ups, self._zero)


assert PIECE % LENGTH == 0  # noqa: S101 - pieces hold whole numbers of any type


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A type of numbers.

    ``exponent`` are the bits that are all set in NaN and infinity, ``tops`` the last bytes that such a number can have;
    ``certain`` where these bytes are proof enough.
    """

    width: int  # bytes
    exponent: int
    tops: bytes
    certain: bool = False


_HALF = bytes((0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF))
FLOAT_FORMATS = {
    "F16": FloatFormat(2, 0x7C00, _HALF, certain=True),
    "BF16": FloatFormat(2, 0x7F80, b"\x7f\xff"),
    "F32": FloatFormat(4, 0x7F80_0000, b"\x7f\xff"),
    "F64": FloatFormat(8, 0x7FF0_0000_0000_0000, b"\x7f\xff"),
    "C64": FloatFormat(4, 0x7F80_0000, b"\x7f\xff"),
    "F8_E5M2": FloatFormat(1, 0x7C, _HALF, certain=True),
    "F8_E4M3": FloatFormat(1, 0x7F, b"\x7f\xff", certain=True),  # no infinity; NaN alone has all bits set
    "F8_E8M0": FloatFormat(1, 0xFF, b"\xff", certain=True),
}
"""Types that have NaN. Whole numbers and the packed F4 and F6 have none."""


def has_nonfinite(dtype: str, data: bytes) -> bool:
    """Whether a piece of whole numbers holds NaN or infinity; False for types that have none."""
    layout = FLOAT_FORMATS.get(dtype)
    if layout is None or not data:
        return False
    tops = data[layout.width - 1 :: layout.width]
    if all(tops.find(top) < 0 for top in layout.tops):
        return False
    if layout.certain:
        return True
    # for all numbers at once: the lowest bit of the exponent, added, runs over only if all its bits are set
    mask, one, carry = _masks(layout, len(data) // layout.width)
    return bool(((int.from_bytes(data, "little") & mask) + one) & carry)


def is_zero(dtype: str, data: bytes) -> bool:
    """Whether all numbers of a piece are zero; -0.0 is zero."""
    if data == bytes(len(data)):
        return True
    layout = FLOAT_FORMATS.get(dtype)
    if layout is None or dtype == "F8_E8M0":
        return False
    last = layout.width - 1
    signed = not data[last :: layout.width].translate(None, b"\x00\x80")
    return signed and not any(any(data[place :: layout.width]) for place in range(last))


@lru_cache(maxsize=32)
def _masks(layout: FloatFormat, count: int) -> tuple[int, int, int]:
    lowest = layout.exponent & -layout.exponent
    bits = (layout.exponent, lowest, 1 << layout.width * 8 - 1)
    mask, one, carry = (int.from_bytes(b.to_bytes(layout.width, "little") * count, "little") for b in bits)
    return mask, one, carry
