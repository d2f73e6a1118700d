"""How musubi-tuner chooses buckets (dataset/bucket.py:75-165), and how many batches, steps and checkpoints follow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kohya_runner.engines.steps_plan import (
    MOST_STEPS,
    SaveSettings,
    StepsPlan,
    bucket_counts,
    plan_saves,
    save_problems,
)
from kohya_runner.findings import Finding, error

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

    def too_narrow(self, size: Size) -> bool:
        """Whether the trainer, looking for sizes near this area, comes to a side of 0 (dataset/bucket.py:153-157)."""
        most = self.control_resolution
        if most is None or (self.no_resize_control and size[0] * size[1] <= most[0] * most[1]):
            return False
        area = most[0] * most[1]
        middle = _down(int(math.sqrt(area * size[0] / size[1])))
        widths = [middle + offset * STEP for offset in range(-2, 3)]
        return any(width == 0 or _down(area // width) == 0 for width in widths)


def _of_area(size: Size, resolution: Size) -> Size:
    """Of all sizes near this area the one nearest in shape (dataset/bucket.py:126)."""
    area, ratio = resolution[0] * resolution[1], size[0] / size[1]
    middle = _down(int(math.sqrt(area * ratio)))
    widths = [width for offset in range(-2, 3) if (width := middle + offset * STEP) > 0]
    near = [(width, height) for width in widths if (height := _down(area // width)) > 0]
    return min(near, key=lambda one: abs(one[0] / one[1] - ratio), default=(STEP, STEP))


def _down(pixels: int) -> int:
    return pixels - pixels % STEP


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of the dataset config: the sizes of its pictures, each with those of its control images."""

    pictures: tuple[tuple[Size, tuple[Size, ...]], ...]
    repeats: int
    batch: int
    buckets: MusubiBuckets


@dataclass(frozen=True, slots=True)
class MusubiLength:
    """What decides the number of steps: the trainer's options, under its names and with its defaults."""

    saves: SaveSettings
    max_train_steps: int = 1600
    max_train_epochs: int | None = None
    gradient_accumulation_steps: int = 1
    num_processes: int = 1


def plan_steps(parts: Sequence[Part], length: MusubiLength) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    """The numbers (training/trainer_base.py:1618-1660); None where the findings say why there are none."""
    found = (*save_problems(length.saves), *_problems(parts, length))
    counts = [_counted(part) for part in parts]
    batches = sum(
        math.ceil(number * part.repeats / part.batch) for part, rows in zip(parts, counts, strict=True)
        for number in rows.values()
    ) if not found else 0  # fmt: skip
    if not batches:
        return None, found or (error("steps.none", "no batch: there is no picture to train on"),)
    total = length.max_train_steps
    if length.max_train_epochs is not None:
        total = length.max_train_epochs * math.ceil(batches / length.num_processes / length.gradient_accumulation_steps)
    if not 1 <= total <= MOST_STEPS:
        text = "not one step would be taken" if total < 1 else f"{total} optimization steps: more than anybody trains"
        return None, (error("steps.none" if total < 1 else "steps.endless", text),)
    each = math.ceil(batches / length.num_processes)
    steps = math.ceil(each / length.gradient_accumulation_steps)
    epochs = math.ceil(total / steps)
    return StepsPlan(
        images_per_epoch=sum(len(part.pictures) * part.repeats for part in parts),
        regularization_images=0, regularization_used=0, validation_images=0,
        batches_per_epoch=each, steps_per_epoch=steps, epochs=epochs, total=total,
        buckets=bucket_counts(
            (key[0], number, number * part.repeats)
            for part, rows in zip(parts, counts, strict=True) for key, number in rows.items()
        ),
        saves=plan_saves(length.saves, total=total, steps_per_epoch=steps, epochs=epochs),
    ), ()  # fmt: skip


def _counted(part: Part) -> Counter[tuple[Size, ...]]:
    """Pictures by their bucket and the sizes of their controls: only such that agree in all come into one batch."""
    keys = []
    for size, controls in part.pictures:
        bucket = part.buckets.bucket(size)
        keys.append((bucket, *(part.buckets.control(control, bucket) for control in controls)))
    return Counter(keys)


def _problems(parts: Sequence[Part], length: MusubiLength) -> tuple[Finding, ...]:
    if length.gradient_accumulation_steps < 1:
        text = f"gradient_accumulation_steps is {length.gradient_accumulation_steps}: must be 1 or more"
        return (error("args.gradient_accumulation_steps", text),)
    narrow = [c for part in parts for _, controls in part.pictures for c in controls if part.buckets.too_narrow(c)]
    if narrow:
        text = f"{len(narrow)} control image(s) such as {narrow[0][0]}x{narrow[0][1]} are too narrow for their area:"
        hint = "write a larger options.control_resolution, or crop them"
        return (error("image.size", f"{text} the trainer divides by zero (dataset/bucket.py:156)", hint=hint),)
    small = [size for part in parts for size, _ in part.pictures if min(part.buckets.bucket(size)) < 1]
    if small:
        text = f"{len(small)} picture(s) are smaller than the steps of a bucket, 16 pixels"
        return (error("image.size", text, hint="leave args.bucket_no_upscale out, or take larger pictures"),)
    return ()
