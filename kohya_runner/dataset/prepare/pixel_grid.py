"""The true pixels of enlarged pixel art: found by enlarging guesses again, and told only where one stands out.

A few lines of the picture are reduced to each number of pixels and enlarged again, as nearest neighbour, bilinear and
bicubic would. At the true number the difference falls far below that of the numbers beside it, JPEG or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import PIL.Image
from PIL import ImageChops, ImageStat

LINES = 48
FEWEST, MOST = 8, 128
"""Pixels a side of a sprite."""
DIP = 0.6
"""How much less the difference is than beside it."""
FLOOR = 0.05
"""Of 255: a difference that is none."""
SKEW = 0.02
_FILTERS = (PIL.Image.Resampling.NEAREST, PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Columns and rows of a sprite, and how it was enlarged."""

    size: tuple[int, int]
    enlarged_by: PIL.Image.Resampling
    exact: bool = False  # enlarged again it is the very same picture

    def reduced(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """The sprite in its own pixels."""
        whole = picture.width % self.size[0] == 0 and picture.height % self.size[1] == 0
        if self.enlarged_by is PIL.Image.Resampling.NEAREST:
            how = PIL.Image.Resampling.BOX if whole and not self.exact else PIL.Image.Resampling.NEAREST
            return picture.resize(self.size, how)
        return _sharpened(picture, self.size, self.enlarged_by)


def find_grid(picture: PIL.Image.Image) -> PixelGrid | None:
    """The grid of an RGB picture; None where it is not known. A picture as small as a sprite is one already."""
    if max(picture.size) <= MOST // 2:
        return PixelGrid(picture.size, PIL.Image.Resampling.NEAREST, exact=True)
    if min(picture.size) < 2 * FEWEST:
        return None
    lines = (_lines(picture), _lines(picture.transpose(PIL.Image.Transpose.TRANSPOSE)))
    for way in _FILTERS:
        across = _differences(lines[0], way)
        stands = min(_depths(across).values(), default=1.0) <= DIP  # else the other direction need not be looked at
        found = _stands_out(picture.size, across, _differences(lines[1], way)) if stands else None
        if found:
            nearest = PIL.Image.Resampling.NEAREST
            back = picture.resize(found, nearest).resize(picture.size, nearest)
            exact = way is nearest and ImageChops.difference(picture, back).getbbox() is None
            return PixelGrid(found, way, exact)
    return None


def _lines(picture: PIL.Image.Image) -> PIL.Image.Image:
    size = (picture.width, min(picture.height, LINES))
    return picture.resize(size, PIL.Image.Resampling.NEAREST).convert("L")


def _differences(lines: PIL.Image.Image, way: PIL.Image.Resampling) -> dict[int, float]:
    """For each number of pixels the mean difference of what is reduced and enlarged again."""
    found = {}
    for number in range(FEWEST - 2, min(MOST, lines.width // 2) + 3):
        size = (number, lines.height)
        near = way is PIL.Image.Resampling.NEAREST
        few = lines.resize(size, PIL.Image.Resampling.BOX) if near else _sharpened(lines, size, way)
        found[number] = ImageStat.Stat(ImageChops.difference(lines, few.resize(lines.size, way))).mean[0]
    return found


def _sharpened(picture: PIL.Image.Image, size: tuple[int, int], way: PIL.Image.Resampling) -> PIL.Image.Image:
    """What a smooth filter was given: the middles of the fields, less what their neighbours brought into them."""
    few = _middles(picture, size)
    again = _middles(few.resize(picture.size, way), size)
    return ImageChops.subtract(ImageChops.add(few, ImageChops.subtract(few, again)), ImageChops.subtract(again, few))


def _middles(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """The pixel in the middle of each field; where there are two, their mean."""
    shift = tuple(int(whole // few % 2 == 0 and few != whole) for whole, few in zip(picture.size, size, strict=True))
    here = picture.resize(size, PIL.Image.Resampling.NEAREST)
    there = ImageChops.offset(picture, *shift).resize(size, PIL.Image.Resampling.NEAREST)
    return PIL.Image.blend(here, there, 0.5)


def _stands_out(
    size: tuple[int, int], across: Mapping[int, float], down: Mapping[int, float]
) -> tuple[int, int] | None:
    """The fewest pixels that stand out in both directions, of those that are square and have no better multiple."""
    depths = _depths(across), _depths(down)
    for columns in depths[0]:
        rows = round(size[1] * columns / size[0])
        if rows not in depths[1] or abs(size[0] / columns * rows / size[1] - 1) > SKEW:
            continue
        if max(depths[0][columns], depths[1][rows]) <= DIP and not (_finer(across, columns) or _finer(down, rows)):
            return columns, rows
    return None


def _depths(differences: Mapping[int, float]) -> dict[int, float]:
    """Each difference as a share of the smaller ones beside it."""
    found = {}
    for number in list(differences)[2:-2]:
        beside = sorted(differences[number + step] for step in (-2, -1, 1, 2))
        found[number] = (differences[number] + FLOOR) / ((beside[0] + beside[1]) / 2 + FLOOR)
    return found


def _finer(differences: Mapping[int, float], number: int) -> bool:
    """Whether a multiple of the number explains the picture far better: then it is the true one."""
    own = differences[number] + FLOOR
    return any(differences[many] + FLOOR < own / 3 for many in range(2 * number, max(differences) + 1, number))
