from __future__ import annotations

import pytest

from kohya_runner.text import duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (13500, "3 h 45 min")],
)
def test_a_duration_is_said_in_two_units_at_most(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (38 << 20, "38.0 MiB"),
        (24 << 30, "24.0 GiB"),
    ],
)
def test_a_size_is_said_in_powers_of_1024(count, text):
    assert size(count) == text
