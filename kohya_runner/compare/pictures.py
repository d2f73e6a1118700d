"""What is measured of pictures, with Pillow alone. Every figure is between 0 and 1 unless it is a number of things."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageChops, ImageMath

from kohya_runner.dataset.picture import FORMATS

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL = 64  # pixels: composition and colour, not texture
FINE = 12  # source pixels that go into one, at least about so many
TINY = 16  # pixels: what two pictures of the same thing share whatever their size
PALETTE_BITS = 5  # a channel: colours nearer than 8 of 255 are one
_LEVELS = (*range(256),) * 3  # of a histogram of three channels
REACH = 4  # pixels on each side of an edge within which it may be blurred


def opened(path: Path) -> Image | None:
    """A picture as RGB, None for one that cannot be read."""
    try:
        with warnings.catch_warnings(), PIL.Image.open(path, formats=FORMATS) as picture:
            warnings.simplefilter("ignore")
            plain: Image = picture.convert("RGB")
            return plain
    except Exception:  # noqa: BLE001 - a broken file makes decoders raise nearly anything
        return None


def plain(picture: Image) -> bool:
    """Whether all of it is one colour."""
    return picture.getcolors(1) is not None


def shrunk(picture: Image, side: int = SMALL) -> Image:
    """Averaged down to a square. Small art is enlarged first: Pillow's box takes a pixel wholly or not at all."""
    factor = max(1, FINE * side // min(picture.size))
    large = picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)
    return large.resize((side, side), PIL.Image.Resampling.BOX)


def difference(one: Image, other: Image) -> float:
    """The mean difference of two pictures of one size, per channel: 0 for the same, 1 for black and white."""
    apart = ImageChops.difference(one, other)
    values = apart.width * apart.height * len(apart.getbands())
    return float(sum(map(mul, apart.histogram(), _LEVELS))) / values / 255  # ten times as fast as Pillow's ImageStat


def mean_difference(pictures: Sequence[Image]) -> float | None:
    """The mean over all pairs; None for fewer than two."""
    pairs = [(a, b) for i, a in enumerate(pictures) for b in pictures[i + 1 :]]
    return sum(difference(a, b) for a, b in pairs) / len(pairs) if pairs else None


def nearest(picture: Image, others: Iterable[Image]) -> float | None:
    """How like the likest of ``others`` it is: 1 is a copy. All are ``TINY``; mirror images count as copies."""
    both = (picture, picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT))
    least = min((difference(one, other) for other in others for one in both), default=None)
    return None if least is None else 1 - least


def palette_size(picture: Image, grid: tuple[int, int]) -> int:
    """How many colours it has at its true pixels, each taken from the middle of its square."""
    sampled = picture.resize(grid, PIL.Image.Resampling.NEAREST)
    shift = 8 - PALETTE_BITS
    reduced = sampled.point([value >> shift for value in range(256)] * 3)
    return len(reduced.getcolors(grid[0] * grid[1]) or ())


def grid_alignment(picture: Image, grid: tuple[int, int]) -> float | None:
    """How much of all change of colour lies on the lines of the grid, beyond chance; None for a plain picture.

    1 for a true enlargement of ``grid`` pixels, 0 for a picture without a grid. A line is as wide as a quarter of a
    true pixel, because painted ones are never exact.
    """
    on = total = chance = 0.0
    for turned, cells in _both_ways(picture, grid):
        steps = _per_column(_change(turned))
        near = int(turned.width / cells / 8)
        middles = (round(number * turned.width / cells) - 1 for number in range(1, cells))
        lines = {place for middle in middles for place in range(middle - near, middle + near + 1)}
        on += sum(value for place, value in enumerate(steps) if place in lines)
        total += sum(steps)
        chance += sum(steps) * len(lines) / len(steps)
    return max(0.0, (on - chance) / (total - chance)) if total > chance else None


def edge_hardness(picture: Image) -> float | None:
    """How much of an edge's contrast is crossed in a single pixel; None for a plain picture.

    1 where every edge is one step, 1/n where each is spread over n pixels.
    """
    steep = whole = 0.0
    for turned, _ in _both_ways(picture, (1, 1)):
        change, span = _change(turned), _span(turned)
        weighed = ImageMath.lambda_eval(lambda a: a["c"] * a["c"], c=change)
        room = ImageMath.lambda_eval(lambda a: a["c"] * a["s"], c=change, s=span)
        steep += sum(_per_column(weighed))
        whole += sum(_per_column(room))
    return steep / whole if whole else None


def _both_ways(picture: Image, grid: tuple[int, int]) -> tuple[tuple[Image, int], tuple[Image, int]]:
    """The picture as it is, for its upright edges, and turned, for the others."""
    grey = picture.convert("L")
    return (grey, grid[0]), (grey.transpose(PIL.Image.Transpose.TRANSPOSE), grid[1])


def _change(grey: Image) -> Image:
    """The difference of each pixel to its right neighbour, as numbers: one column less."""
    width, height = grey.size
    left, right = grey.crop((0, 0, width - 1, height)), grey.crop((1, 0, width, height))
    return ImageChops.difference(left, right).convert("F")


def _span(grey: Image) -> Image:
    """The contrast within ``REACH`` pixels to both sides of each place of ``_change``, along the same line."""
    width, height = grey.size
    low = high = None
    for shift in range(-REACH, REACH + 2):
        moved = grey.transform((width - 1, height), PIL.Image.Transform.AFFINE, (1, 0, shift, 0, 1, 0))
        edge = _held(grey, moved, shift)
        low = edge if low is None else ImageChops.darker(low, edge)
        high = edge if high is None else ImageChops.lighter(high, edge)
    assert low is not None  # noqa: S101 - the range is not empty
    assert high is not None  # noqa: S101 - as above
    return ImageChops.difference(high, low).convert("F")


def _held(grey: Image, moved: Image, shift: int) -> Image:
    """With the border's own pixels where the shift leads out of the picture."""
    width, height = moved.size
    if shift < 0:
        moved.paste(grey.crop((0, 0, 1, height)).resize((-shift, height)), (0, 0))
    if shift > 1:
        border = grey.crop((grey.width - 1, 0, grey.width, height)).resize((shift - 1, height))
        moved.paste(border, (width - shift + 1, 0))
    return moved


def _per_column(numbers: Image) -> list[float]:
    row = numbers.resize((numbers.width, 1), PIL.Image.Resampling.BOX)
    return [float(row.getpixel((x, 0))) for x in range(row.width)]  # type: ignore[arg-type]
