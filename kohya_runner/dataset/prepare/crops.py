"""Contact sheets of what the crop to the bucket's shape leaves of each picture, and where its focus is."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageOps

from kohya_runner.dataset.buckets import make_buckets, select
from kohya_runner.dataset.prepare.reading import PictureError, Raw, raw_pictures, read_bytes, read_plain
from kohya_runner.dataset.prepare.shaping import CENTRE, PrepareSettings, crop_box
from kohya_runner.safe_files import write_bytes

SIDE, COLUMNS, ROWS = 240, 5, 5


def write_crops(source: Path, target: Path, settings: PrepareSettings) -> tuple[Path, ...]:
    """``crops-001.jpg`` and so on in ``target``; what is cut off is dark."""
    raws, _ = raw_pictures(source, "")
    written = []
    for first in range(0, len(raws), COLUMNS * ROWS):
        sheet = PIL.Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE), "white")
        for place, raw in enumerate(raws[first : first + COLUMNS * ROWS]):
            with suppress(PictureError):
                small = _drawn(raw, settings)
                sheet.paste(small, (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=85)
        written.append(target / f"crops-{first // (COLUMNS * ROWS) + 1:03d}.jpg")
        write_bytes(written[-1], buffer.getvalue())
    return tuple(written)


def _drawn(raw: Raw, settings: PrepareSettings) -> PIL.Image.Image:
    picture, _, _ = read_plain(read_bytes(raw.path, raw.refused), settings.background)
    chosen = select(make_buckets(settings.buckets), picture.size)
    focus = raw.focus()[0] or CENTRE
    small = ImageOps.contain(picture, (SIDE - 8, SIDE - 24))
    if chosen is not None:
        box = crop_box(small.size, chosen[0], focus)
        left, top, right, bottom = (round(side) for side in box)
        dark = small.point(lambda value: value // 4)
        dark.paste(small.crop((left, top, right, bottom)), (left, top))
        small = dark
    draw = ImageDraw.Draw(small)
    x, y = focus[0] * small.width, focus[1] * small.height
    draw.ellipse((x - 3, y - 3, x + 3, y + 3), outline="white", fill="red")
    framed = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    framed.paste(small, (4, 4))
    text = f"{raw.path.name[:24]} {chosen[0][0]}x{chosen[0][1]}" if chosen else raw.path.name[:30]
    ImageDraw.Draw(framed).text((4, SIDE - 18), text.encode("ascii", "replace").decode(), fill="black")
    return framed
