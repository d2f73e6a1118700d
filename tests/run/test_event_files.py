from __future__ import annotations

import pytest

from kohya_runner.run import event_files
from kohya_runner.run.event_files import EventFile, Scalar, checksum, scalar_record, version_record

ROWS = [Scalar(1700000000.5, 3, "lr/unet", 0.0001), Scalar(1700000001.5, 300000, "loss/current", float("inf"))]


@pytest.fixture
def path(odd_path):
    return odd_path / "events.out.tfevents.1.pod"


def test_the_checksum_is_crc32c():
    """The check value of the Castagnoli polynomial over the nine digits, masked as TFRecord masks it."""
    crc = 0xE3069283
    assert checksum(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_what_is_written_is_read(path):
    path.write_bytes(version_record(1.0) + b"".join(map(scalar_record, ROWS)))
    found = EventFile(path).read()
    assert [(s.t, s.step, s.tag) for s in found] == [(s.t, s.step, s.tag) for s in ROWS]
    assert [s.value for s in found] == [pytest.approx(0.0001), float("inf")]


def test_a_file_that_grows_byte_by_byte_is_read_once(path):
    whole = version_record(1.0) + b"".join(map(scalar_record, ROWS))
    file, found = EventFile(path), []
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        found += file.read()
    assert [s.step for s in found] == [3, 300000]


@pytest.mark.parametrize("place", [0, 9, 30, 50])
def test_a_flipped_bit_ends_the_file_and_invents_no_number(path, place):
    data = bytearray(version_record(1.0) + scalar_record(ROWS[0]) + scalar_record(ROWS[1]))
    data[place] ^= 4
    path.write_bytes(data)
    file = EventFile(path)
    assert all(s in ROWS or s.step == 3 for s in file.read())
    assert file.broken
    assert file.read() == []


def test_noise_raises_nothing(path):
    for seed in range(300):
        data = bytes((seed * 31 + n * n * 7) % 256 for n in range(80))
        framed = event_files._record(data)  # a right checksum over nonsense
        path.write_bytes(framed + data)
        assert isinstance(EventFile(path).read(), list)
