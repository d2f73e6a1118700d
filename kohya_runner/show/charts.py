"""Curves as numbers that a page draws: lines, ticks, and marks in the units of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        for column, row in _curves_line(before or place, place):
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        before = place
    return ["".join(" " if cell == _BLANK else chr(cell) for cell in line) for line in cells]


def _place(value: float, low: float, high: float, number: int) -> int:
    return min(number - 1, max(0, int((value - low) / (high - low) * number)))


def _curves_line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    return [(x0 + round((x1 - x0) * n / steps), y0 + round((y1 - y0) * n / steps)) for n in range(steps + 1)]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within a range, at most ``most`` + 1 of them."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


MOST_POINTS = 700
MOST_EPOCHS = 60
ABOVE, BELOW, LEFT, RIGHT = 24, 26, 58, 22  # room around the curves, in the picture's units


@dataclass(frozen=True, slots=True)
class ChartCurve:
    """One line; ``faint`` lies behind the others."""

    name: str
    points: tuple[Point, ...]
    faint: bool = False


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One curve as it is drawn: pieces without gaps, each the text of an SVG path."""

    name: str
    number: int
    faint: bool
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture. Marks are (place, label); a label may be ""."""

    width: int
    height: int
    lines: tuple[ChartLine, ...]
    across: tuple[tuple[float, str], ...]
    upward: tuple[tuple[float, str], ...]
    epochs: tuple[tuple[float, str], ...]
    saves: tuple[tuple[float, str], ...]
    broken: tuple[float, ...]  # where the first curve is NaN
    left: int = LEFT
    top: int = ABOVE

    @property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        return self.height - BELOW


@dataclass(frozen=True, slots=True)
class Marks:
    """Where epochs begin and checkpoints were saved, by step."""

    epochs: Sequence[tuple[int, int]] = ()  # (step, number)
    saves: Sequence[tuple[int, str]] = ()
    total: int | None = None


def chart(curves: Sequence[ChartCurve], marks: Marks, width: int, height: int) -> Chart | None:
    """A picture of the curves over the steps; None where there is nothing to draw."""
    every = [point for curve in curves for point in curve.points]
    window = Window.around(sorted(every), float(marks.total) if marks.total else None)
    if window is None:
        return None
    plane = _Plane(window, width, height)
    wide = max(2, (width - LEFT - RIGHT) // 64)
    return Chart(
        width,
        height,
        lines=tuple(_line(number, curve, plane) for number, curve in enumerate(curves)),
        across=tuple((plane.x(tick), f"{tick:g}") for tick in ticks(window.left, window.right, wide)),
        upward=tuple(
            (y, _label(tick)) for tick in ticks(window.low, window.high, 5) if (y := plane.y(tick)) > ABOVE + 6
        ),
        epochs=_epochs(marks.epochs, plane),
        saves=tuple((plane.x(step), name) for step, name in marks.saves if window.left <= step <= window.right),
        broken=tuple(plane.x(x) for x, y in thinned(curves[0].points, MOST_POINTS) if not math.isfinite(y)),
    )


@dataclass(frozen=True, slots=True)
class _Plane:
    window: Window
    width: int
    height: int

    def x(self, value: float) -> float:
        share = (value - self.window.left) / (self.window.right - self.window.left)
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.window.low) / (self.window.high - self.window.low)
        return round(self.height - BELOW - share * (self.height - ABOVE - BELOW), 1)


def _line(number: int, curve: ChartCurve, plane: _Plane) -> ChartLine:
    parts: list[str] = []
    pen = "M"
    for x, y in thinned(curve.points, min(MOST_POINTS, plane.width)):
        if not math.isfinite(y):
            pen = "M"
            continue
        parts.append(f"{pen}{plane.x(x):g} {plane.y(y):g}")
        pen = "L"
    if pen == "L" and len(parts) == 1:
        parts.append("h1")  # a single point is a dot
    return ChartLine(curve.name, number, curve.faint, "".join(parts))


def _epochs(epochs: Sequence[tuple[int, int]], plane: _Plane) -> tuple[tuple[float, str], ...]:
    """Lines where epochs begin, every so many of them where they are many; labels that would touch are left out."""
    every = math.ceil(len(epochs) / MOST_EPOCHS) or 1
    found: list[tuple[float, str]] = []
    free = 0.0
    for step, number in epochs[::every]:
        x = max(plane.x(step), float(LEFT))
        label = str(number) if x >= free else ""
        free = x + 8 * len(label) + 10 if label else free
        found.append((x, label))
    return tuple(found)


def _label(value: float) -> str:
    if value and (abs(value) < 0.001 or abs(value) >= 10_000):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
