"""Curves from many points: made fewer, smoothed, and drawn in dots of braille for a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell, by row and column (Unicode's braille patterns)."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the plane that is drawn; never without height."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point], right: float | None = None) -> Window | None:
        """Around the points that are numbers; ``right`` makes room for what is still to come."""
        good = [point for point in points if math.isfinite(point[1])]
        if not good:
            return None
        low, high = min(y for _, y in good), max(y for _, y in good)
        room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        last = max(points[-1][0], points[0][0] + 1)
        return cls(points[0][0], max(right or last, last), low - room, high + room)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most ``most`` points: means of neighbours. A mean over NaN is NaN."""
    if len(points) <= most:
        return list(points)
    size = len(points) / most
    groups = [points[int(n * size) : max(int((n + 1) * size), int(n * size) + 1)] for n in range(most)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def smoothed(points: Sequence[Point], weight: float = 0.9) -> list[Point]:
    """An exponential mean, unbiased from its first point; NaN stays NaN and starts the mean again."""
    total = share = 0.0
    out: list[Point] = []
    for x, y in points:
        if not math.isfinite(y):
            total = share = 0.0
            out.append((x, y))
            continue
        total, share = total * weight + y * (1 - weight), share * weight + 1 - weight
        out.append((x, total / share))
    return out


def braille(points: Sequence[Point], window: Window, width: int, height: int) -> list[str]:
    """Lines of ``width`` cells, the highest first; each cell has 2 by 4 dots."""
    cells = [[_BLANK] * width for _ in range(height)]
    columns, rows = width * 2, height * 4
    before: tuple[int, int] | None = None
    for x, y in thinned(points, columns):
        if not math.isfinite(y):
            before = None
            continue
        place = (_place(x, window.left, window.right, columns), rows - 1 - _place(y, window.low, window.high, rows))
        for column, row in _line(before or place, place):
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        before = place
    return ["".join(" " if cell == _BLANK else chr(cell) for cell in line) for line in cells]


def _place(value: float, low: float, high: float, number: int) -> int:
    return min(number - 1, max(0, int((value - low) / (high - low) * number)))


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots from one place to another."""
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    return [(x0 + round((x1 - x0) * n / steps), y0 + round((y1 - y0) * n / steps)) for n in range(steps + 1)]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within a range, at most ``most`` + 1 of them."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]
