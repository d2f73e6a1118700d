"""What becomes of a picture's pixels: pixel art whole times as large as its grid, photographs only ever smaller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import PIL.Image
from PIL import ImageColor, ImageDraw, ImageOps

from kohya_runner.dataset.buckets import BucketSettings, make_buckets, select
from kohya_runner.dataset.prepare.pixel_grid import find_grid
from kohya_runner.dataset.prepare.reading import PictureError, Raw, raw_pictures, read_bytes, read_plain
from kohya_runner.findings import Finding, info, warning
from kohya_runner.safe_files import write_bytes
from kohya_runner.text import counted, names

if TYPE_CHECKING:
    from kohya_runner.dataset.prepare.manifest import DatasetVersion

    Shaped = tuple[PIL.Image.Image, tuple[str, ...]]

Size = tuple[int, int]
Box = tuple[float, float, float, float]

Style = Literal["photos", "pixel_art", "as_is"]  # the last is what a recipe's caption makes: files as they are
NO_GRID = "no pixel grid found"
SMALL = "smaller than its bucket"
PADDED = "padded to"
CENTRE = (0.5, 0.5)
SIDE, COLUMNS, ROWS = 240, 5, 5
"""Of a sheet of crops."""


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """All that decides what ``prepare`` makes of a picture."""

    buckets: BucketSettings
    style: Style = "photos"
    background: str = "white"
    format: Literal["png", "jpeg"] = "png"
    crop: bool = False
    keep_near: bool = False


def settings_for(size: int) -> BucketSettings:
    """The trainer's buckets around this resolution, where no recipe says which."""
    return BucketSettings((size, size), enable_bucket=True, min_bucket_reso=min(256, size), max_bucket_reso=2 * size)


def shaped(picture: PIL.Image.Image, settings: PrepareSettings, focus: tuple[float, float] | None) -> Shaped:
    """The picture as the bucket needs it, and what was done."""
    if settings.style == "photos":
        return _photo(picture, settings, focus)
    grid = find_grid(picture)
    if grid is None:
        made, what = _photo(picture, settings, focus)
        return made, (NO_GRID, *what)
    return _sprite(grid.reduced(picture), settings)


def _sprite(sprite: PIL.Image.Image, settings: PrepareSettings) -> Shaped:
    """Each pixel as a square; what the squares do not fill of the bucket is background on all sides."""
    buckets = make_buckets(replace(settings.buckets, bucket_no_upscale=False))
    chosen = select(buckets, sprite.size)
    bucket = chosen[0] if chosen else sprite.size
    times = max(1, min(bucket[0] // sprite.width, bucket[1] // sprite.height))
    large = sprite.resize((sprite.width * times, sprite.height * times), PIL.Image.Resampling.NEAREST)
    what = (f"grid {_text(sprite.size)}", f"{times} times as large")
    if large.size == bucket:
        return large, what
    canvas = PIL.Image.new("RGB", bucket, ImageColor.getrgb(settings.background)[:3])
    canvas.paste(large, ((bucket[0] - large.width) // 2, (bucket[1] - large.height) // 2))
    return canvas, (*what, f"{PADDED} {_text(bucket)}")


def _photo(picture: PIL.Image.Image, settings: PrepareSettings, focus: tuple[float, float] | None) -> Shaped:
    chosen = select(make_buckets(settings.buckets), picture.size)
    if chosen is None:
        return picture, (SMALL,)
    bucket, wanted = chosen
    what: tuple[str, ...] = ()
    if settings.crop or focus is not None:
        left, top, right, bottom = map(round, crop_box(picture.size, bucket, focus or CENTRE))
        if (left, top, right, bottom) != (0, 0, *picture.size):
            picture, what = picture.crop((left, top, right, bottom)), (f"cropped to {left},{top},{right},{bottom}",)
        wanted = bucket
    if wanted[0] > picture.width or wanted[1] > picture.height:
        return picture, (*what, f"{SMALL} {_text(bucket)}")
    if wanted == picture.size:
        return picture, what
    small = picture.resize(wanted, PIL.Image.Resampling.LANCZOS)
    return small, (*what, f"{_text(picture.size)} to {_text(wanted)}")


def crop_box(size: Size, bucket: Size, focus: tuple[float, float]) -> Box:
    """The largest part of a picture in the bucket's shape, as near to the focus as the edges let it."""
    ratio = bucket[0] / bucket[1]
    width, height = min(size[0], size[1] * ratio), min(size[1], size[0] / ratio)
    left = min(max(size[0] * focus[0] - width / 2, 0), size[0] - width)
    top = min(max(size[1] * focus[1] - height / 2, 0), size[1] - height)
    return left, top, left + width, top + height


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def version_findings(version: DatasetVersion) -> Iterator[Finding]:
    """What a person should know of a version, as its manifest tells it."""
    for one in (one for one in version.set_aside if not one.like):
        yield warning("image.set_aside", f"{Path(one.source).name}: {one.why}", where=one.source, hint="replace it")
    copies = [Path(one.source) for one in version.set_aside if one.like]
    if copies:
        text = f"{len(copies)} set aside as copies: {names(copies)}"
        yield info("image.set_aside", text, hint="the manifest says of which; --keep-near keeps what only looks alike")
    told = (
        (NO_GRID, "the pixel grid is not known, they are kept as they are", "crop them to the sprite alone"),
        (SMALL, f"{SMALL.replace('its', 'their')}, and not enlarged",
         "write args.bucket_no_upscale: true, or a smaller --size"),
        ("its focus", "the focus is not two numbers from 0 to 1, such as 0.5 0.25", "correct the .focus file"),
        ("its colour profile", "the colour profile cannot be used; the colours are as they stand", "look at them"),
    )  # fmt: skip
    for begin, text, hint in told:
        found = [Path(one.file) for one in version.pictures if any(what.startswith(begin) for what in one.what)]
        if found:
            yield warning("image.prepared", f"{counted(len(found), 'image')}: {names(found)}: {text}", hint=hint)
    padded = [Path(one.file) for one in version.pictures if any(what.startswith(PADDED) for what in one.what)]
    if padded:
        text = f"{counted(len(padded), 'image')} with background at the edges, as the grid does not fill the bucket"
        yield info("image.padded", f"{text}: {names(padded)}")


def bucket_rests(version: DatasetVersion, settings: PrepareSettings, batch: int) -> Iterator[Finding]:
    """The pictures that leave a bucket with a batch that is not full, and the repeats that would fill it."""
    buckets = make_buckets(settings.buckets)
    chosen = {one.file: select(buckets, one.size) for one in version.pictures}
    counts = Counter(found[0] for found in chosen.values() if found)
    for bucket, count in sorted(counts.items()):
        if rest := count % batch:
            files = [Path(name) for name, found in chosen.items() if found and found[0] == bucket]
            text = f"bucket {bucket[0]}x{bucket[1]} has {counted(count, 'image')}: {rest} fill no batch of {batch}"
            repeats = batch // gcd(count, batch)
            hint = f"a dataset of these alone with repeats: {repeats} fills it; or crop them otherwise"
            yield info("dataset.bucket_rest", f"{text}: {names(files)}", hint=hint)


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
        left, top, right, bottom = map(round, crop_box(small.size, chosen[0], focus))
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
