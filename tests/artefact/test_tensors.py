"""Every type of number against what struct reads."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from number_files import PACK, packed

from kohya_runner.artefact.content import FLOAT_FORMATS, has_nonfinite, is_zero
from kohya_runner.artefact.safetensors_header import BITS

WITH_NAN = sorted(FLOAT_FORMATS)


def numbers(dtype, data):
    """What the bytes hold, read one by one."""
    if dtype == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data), 2)]
    return [number for (number,) in struct.iter_unpack(PACK[dtype], data)]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
@given(data=st.data())
def test_any_bytes_are_judged_as_struct_reads_them(dtype, data):
    raw = data.draw(st.binary(max_size=64).map(lambda b: b[: len(b) // 8 * 8]))
    read = numbers(dtype, raw)
    assert has_nonfinite(dtype, raw) == (not all(map(math.isfinite, read)))
    assert is_zero(dtype, raw) == all(number == 0 for number in read)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("place", [0, 1, 4095])
def test_one_bad_number_among_thousands_is_found(dtype, bad, place):
    values = [1.5] * 4096
    assert not has_nonfinite(dtype, packed(dtype, *values))
    values[place] = bad
    assert has_nonfinite(dtype, packed(dtype, *values))


@pytest.mark.parametrize(("dtype", "largest"), [("F16", 65504.0), ("BF16", 3.3e38), ("F32", 3.4e38), ("F64", 1.7e308)])
def test_the_largest_numbers_are_numbers(dtype, largest):
    assert not has_nonfinite(dtype, packed(dtype, *[largest, -largest] * 100))


@pytest.mark.parametrize(
    ("dtype", "byte", "bad"),
    [
        ("F8_E4M3", 0x7F, True),
        ("F8_E4M3", 0xFF, True),
        ("F8_E4M3", 0x7E, False),  # 448, the largest
        ("F8_E5M2", 0x7C, True),  # infinite
        ("F8_E5M2", 0xFE, True),
        ("F8_E5M2", 0x7B, False),
        ("F8_E8M0", 0xFF, True),
        ("F8_E8M0", 0xFE, False),
        ("U8", 0xFF, False),
        ("I8", 0x7F, False),
        ("BOOL", 0x01, False),
    ],
)
def test_a_number_of_one_byte(dtype, byte, bad):
    assert has_nonfinite(dtype, bytes([0x01, byte, 0x01])) is bad


@pytest.mark.parametrize("dtype", WITH_NAN)
def test_bytes_of_ones_are_nan_in_every_type_that_has_it(dtype):
    assert has_nonfinite(dtype, b"\xff" * 16)


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_zeros_are_zero_and_finite_in_every_type(dtype):
    assert is_zero(dtype, bytes(16))
    assert not has_nonfinite(dtype, bytes(16))
