"""Which bucket an image goes to: the arithmetic of the trainer's BucketManager, without numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kohya_runner.findings import Finding, error

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What decides the buckets: the trainer's options of the same names, ``resolution`` as width and height."""

    resolution: tuple[int, int]
    enable_bucket: bool = False
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    bucket_no_upscale: bool = False


@dataclass(frozen=True, slots=True)
class Buckets:
    """The choice of buckets; ``predefined`` is empty with bucket_no_upscale, where sizes follow from the images."""

    settings: BucketSettings
    predefined: tuple[Size, ...]


def parse_resolution(value: Any) -> tuple[int, int] | None:
    """Width and height of ``"1024"``, ``"1024,768"``, 1024 [1024, 768] (library/accelerator_setup.py:50); else None."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    try:
        numbers = [int(part) for part in parts]
    except (TypeError, ValueError):
        return None
    if len(numbers) not in (1, 2):
        return None
    return numbers[0], numbers[-1]


def problems(settings: BucketSettings, *, divisor: int | None = None) -> tuple[Finding, ...]:
    """Why the trainer would not get as far as making buckets. ``divisor`` is what the script asks of the steps."""
    return tuple(_problems(settings, divisor))


def _problems(settings: BucketSettings, divisor: int | None) -> Iterator[Finding]:
    steps = settings.bucket_reso_steps
    if min(settings.resolution) < 1:
        yield error("args.resolution", f"resolution {_text(settings.resolution)}: both sides must be positive")
        return
    if not settings.enable_bucket:
        return
    if steps < 1:
        yield error("args.bucket_reso_steps", f"bucket_reso_steps is {steps}: must be 1 or more")
        return
    if divisor is not None and steps % divisor:  # library/dataset.py:724
        text = f"bucket_reso_steps is {steps}: this trainer needs a multiple of {divisor}"
        yield error("args.bucket_reso_steps", text)
    low, high = limits(settings)
    if min(settings.resolution) < low:  # library/dataset.py:449
        text = f"min_bucket_reso is {low} (in steps of {steps}), more than the resolution {_text(settings.resolution)}"
        hint = f"write args.min_bucket_reso: {min(settings.resolution) // steps * steps}"
        yield error("args.bucket_min", text, hint=hint if min(settings.resolution) >= steps else "")
    if max(settings.resolution) > high:  # library/dataset.py:452
        text = f"max_bucket_reso is {high} (in steps of {steps}), less than the resolution {_text(settings.resolution)}"
        hint = f"write args.max_bucket_reso: {-(-max(settings.resolution) // steps) * steps} or more"
        yield error("args.bucket_max", text, hint=hint)
    if low < 1 and not settings.bucket_no_upscale:  # a division by zero in library/model_util.py:1399
        text = f"min_bucket_reso is {settings.min_bucket_reso}: less than bucket_reso_steps ({steps}) becomes 0"
        yield error("args.bucket_min", text, hint=f"write args.min_bucket_reso: {steps} or more")


def limits(settings: BucketSettings) -> tuple[int, int]:
    """min_bucket_reso rounded down and max_bucket_reso rounded up to steps (library/dataset.py:430-447)."""
    steps = settings.bucket_reso_steps
    low = settings.min_bucket_reso - settings.min_bucket_reso % steps
    high = settings.max_bucket_reso + (-settings.max_bucket_reso) % steps
    return low, high


def make_buckets(settings: BucketSettings) -> Buckets:
    """The buckets for settings without ``problems``: one without enable_bucket (library/dataset.py:679)."""
    if not settings.enable_bucket:
        return Buckets(settings, (settings.resolution,))
    if settings.bucket_no_upscale:
        return Buckets(settings, ())
    return Buckets(settings, bucket_resolutions(settings.resolution, limits(settings), settings.bucket_reso_steps))


def bucket_resolutions(resolution: Size, bounds: Size, steps: int) -> tuple[Size, ...]:
    """The predefined sizes, sorted (library/model_util.py:1388)."""
    area = resolution[0] * resolution[1]
    low, high = bounds
    square = int(math.sqrt(area) // steps) * steps
    found = {(square, square)}
    for width in range(low, high + 1, steps):
        height = min(high, int((area // width) // steps) * steps)
        if height >= low:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def select(buckets: Buckets, size: Size) -> tuple[Size, Size] | None:
    """The bucket of an image and what it is resized to before the crop (library/dataset.py:251-310).

    None where the trainer cannot use the image: a side of the bucket would be 0.
    """
    settings = buckets.settings
    if min(size) < 1:
        return None
    if settings.enable_bucket and settings.bucket_no_upscale:
        return _shrunk(settings, size)
    return _scaled(buckets.predefined, size)


def _scaled(predefined: tuple[Size, ...], size: Size) -> tuple[Size, Size]:
    """Up or down to the predefined size of the nearest aspect ratio; an exact match of the size comes first."""
    width, height = size
    ratio = width / height
    # numpy's argmin and min() both take the first of equals
    bucket = size if size in predefined else min(predefined, key=lambda b: abs(b[0] / b[1] - ratio))
    scale = bucket[1] / height if ratio > bucket[0] / bucket[1] else bucket[0] / width
    return bucket, (int(width * scale + 0.5), int(height * scale + 0.5))


def _shrunk(settings: BucketSettings, size: Size) -> tuple[Size, Size] | None:
    """Only down, to the area of the resolution; then both sides cut to whole steps."""
    steps = settings.bucket_reso_steps
    area = settings.resolution[0] * settings.resolution[1]
    resized = size if size[0] * size[1] <= area else _fitted(area, size[0] / size[1], steps)
    if resized is None:
        return None
    bucket = (resized[0] - resized[0] % steps, resized[1] - resized[1] % steps)
    return (bucket, resized) if min(bucket) > 0 else None


def _fitted(area: int, ratio: float, steps: int) -> Size | None:
    """The size of about this area with one side in whole steps: whichever keeps the aspect ratio better."""
    exact_width = math.sqrt(area * ratio)
    exact_height = area / exact_width
    width = _rounded(exact_width, steps)
    height_for_width = _rounded(width / ratio, steps)
    height = _rounded(exact_height, steps)
    width_for_height = _rounded(height * ratio, steps)
    if height_for_width == 0 or height == 0:
        return None  # the trainer divides by it
    if abs(width / height_for_width - ratio) < abs(width_for_height / height - ratio):
        return width, int(width / ratio + 0.5)
    return int(height * ratio + 0.5), height


def _rounded(value: float, steps: int) -> int:
    whole = int(value + 0.5)
    return whole - whole % steps


def _text(size: Size) -> str:
    return f"{size[0]},{size[1]}"
