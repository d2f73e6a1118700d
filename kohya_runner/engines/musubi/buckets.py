"""Which bucket a picture goes to under musubi-tuner: its BucketSelector's arithmetic (dataset/bucket.py:75-165)."""

from __future__ import annotations

import math
from dataclasses import dataclass

Size = tuple[int, int]
STEP = 16
"""Pixels, for FLUX.1 Kontext and FLUX.2 (dataset/bucket.py:40)."""


@dataclass(frozen=True, slots=True)
class MusubiBuckets:
    """What decides: the keys of its dataset config, with its defaults."""

    resolution: Size
    enable_bucket: bool = False
    bucket_no_upscale: bool = False
    no_resize_control: bool = False
    control_resolution: Size | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The buckets; without enable_bucket there is one, and pictures of another shape are cut to it."""
        if not self.enable_bucket:
            return (self.resolution,)
        area = self.resolution[0] * self.resolution[1]
        square = int(math.sqrt(area))
        found: set[Size] = set()
        for width in range(_down(square // 2), square + STEP, STEP):
            height = _down(area // width) if width else 0
            found |= {(width, height), (height, width)}
        return tuple(sorted(found))

    def bucket(self, size: Size) -> Size:
        """A picture's bucket."""
        area = self.resolution[0] * self.resolution[1]
        if self.enable_bucket and self.bucket_no_upscale and size[0] * size[1] <= area:
            return _down(size[0]), _down(size[1])
        return min(self.sizes, key=lambda bucket: abs(bucket[0] / bucket[1] - size[0] / size[1]))

    def control(self, size: Size, bucket: Size) -> Size:
        """What a control image is brought to (dataset/image_video_dataset.py:448-479)."""
        if self.no_resize_control:
            most = self.control_resolution
            if most is None:
                return _down(size[0]), _down(size[1])
            return _of_area(size, most) if size[0] * size[1] > most[0] * most[1] else size
        return bucket if self.control_resolution is None else _of_area(size, self.control_resolution)


def _of_area(size: Size, resolution: Size) -> Size:
    """Of all sizes near this area the one nearest in shape (dataset/bucket.py:126)."""
    area, ratio = resolution[0] * resolution[1], size[0] / size[1]
    middle = _down(int(math.sqrt(area * ratio)))
    widths = [width for offset in range(-2, 3) if (width := middle + offset * STEP) > 0]
    near = [(width, height) for width in widths if (height := _down(area // width)) > 0]
    return min(near, key=lambda one: abs(one[0] / one[1] - ratio), default=(STEP, STEP))


def _down(pixels: int) -> int:
    return pixels - pixels % STEP
