"""Pictures drawn for the tests of ``dataset prepare``."""

from __future__ import annotations

import random
from io import BytesIO

import PIL.Image

RESAMPLING = PIL.Image.Resampling
PALETTE = ((20, 12, 28), (68, 36, 52), (48, 52, 109), (208, 70, 72), (117, 113, 97), (218, 212, 94), (222, 238, 214))


def sprite(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """A blob of a few colours with single pixels in it, on white."""
    dice = random.Random(seed)
    picture = PIL.Image.new("RGB", (width, height), "white")
    for y in range(2, height - 1):
        left, right = sorted((dice.randrange(1, width // 2), dice.randrange(width // 2, width - 1)))
        for x in range(left, right):
            colour = dice.randrange(len(PALETTE)) if dice.random() < 0.3 else (x // 4 + y // 5) % len(PALETTE)
            picture.putpixel((x, y), PALETTE[colour])
    return picture


def photo(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """Something smooth that has no grid."""
    dice = random.Random(seed)
    few = PIL.Image.new("RGB", (9, 7))
    few.putdata([tuple(dice.randrange(256) for _ in range(3)) for _ in range(63)])
    smooth = few.resize((width, height), RESAMPLING.BICUBIC)
    noise = PIL.Image.effect_noise((width, height), 20).convert("RGB")
    return PIL.Image.blend(smooth, noise, 0.15)


def as_jpeg(picture: PIL.Image.Image, quality: int) -> PIL.Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return PIL.Image.open(buffer).convert("RGB")
