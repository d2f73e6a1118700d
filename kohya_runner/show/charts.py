"""Curves as numbers that a page draws: lines, ticks, and marks in the units of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.show.curves import Window, thinned, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kohya_runner.show.curves import Point

MOST_POINTS = 700
MOST_EPOCHS = 60
ABOVE, BELOW, LEFT, RIGHT = 24, 26, 58, 22
"""Room around the curves, in the picture's units."""


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
        """The right end of the plane."""
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        """The lower end of the plane."""
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
    for x, y in thinned(curve.points, MOST_POINTS):
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
