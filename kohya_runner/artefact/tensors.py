"""Numbers of a safetensors file, looked at without any library: which are not finite, which are all zero.

A number is NaN or infinite where its exponent has every bit set. In most types the last byte of each number (they are
little endian) says whether that can be so: one slice and a few searches over a piece, two to six gigabytes a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Layout:
    """A type of numbers.

    ``exponent`` are the bits that are all set in NaN and infinity, ``tops`` the last bytes that such a number can have;
    ``certain`` where these bytes are proof enough.
    """

    width: int  # bytes
    exponent: int
    tops: bytes
    certain: bool = False


_HALF = bytes((0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF))
LAYOUTS = {
    "F16": Layout(2, 0x7C00, _HALF, certain=True),
    "BF16": Layout(2, 0x7F80, b"\x7f\xff"),
    "F32": Layout(4, 0x7F80_0000, b"\x7f\xff"),
    "F64": Layout(8, 0x7FF0_0000_0000_0000, b"\x7f\xff"),
    "C64": Layout(4, 0x7F80_0000, b"\x7f\xff"),
    "F8_E5M2": Layout(1, 0x7C, _HALF, certain=True),
    "F8_E4M3": Layout(1, 0x7F, b"\x7f\xff", certain=True),  # no infinity; NaN alone has all bits set
    "F8_E8M0": Layout(1, 0xFF, b"\xff", certain=True),
}
"""Types that have NaN. Whole numbers and the packed F4 and F6 have none."""


def has_nonfinite(dtype: str, data: bytes) -> bool:
    """Whether a piece of whole numbers holds NaN or infinity; False for types that have none."""
    layout = LAYOUTS.get(dtype)
    if layout is None or not data:
        return False
    tops = data[layout.width - 1 :: layout.width]
    if all(tops.find(top) < 0 for top in layout.tops):
        return False
    return layout.certain or _has_full_exponent(layout, data)


def is_zero(dtype: str, data: bytes) -> bool:
    """Whether all numbers of a piece are zero; -0.0 is zero."""
    if data == bytes(len(data)):
        return True
    layout = LAYOUTS.get(dtype)
    if layout is None or dtype == "F8_E8M0":
        return False
    last = layout.width - 1
    signed = not data[last :: layout.width].translate(None, b"\x00\x80")
    return signed and not any(any(data[place :: layout.width]) for place in range(last))


def _has_full_exponent(layout: Layout, data: bytes) -> bool:
    """Exactly, for all numbers at once: the lowest bit of the exponent, added, runs over only if all bits are set."""
    count = len(data) // layout.width
    mask, one, carry = _masks(layout, count)
    return bool(((int.from_bytes(data, "little") & mask) + one) & carry)


@lru_cache(maxsize=32)
def _masks(layout: Layout, count: int) -> tuple[int, int, int]:
    lowest = layout.exponent & -layout.exponent
    bits = (layout.exponent, lowest, 1 << layout.width * 8 - 1)
    mask, one, carry = (int.from_bytes(b.to_bytes(layout.width, "little") * count, "little") for b in bits)
    return mask, one, carry
