"""How many batches, steps and checkpoints a run of musubi-tuner has: the numbers that it prints."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.engines.steps_plan import MOST_STEPS, BucketCount, StepsPlan, plan_saves, save_problems
from kohya_runner.findings import error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kohya_runner.engines.musubi.buckets import MusubiBuckets, Size
    from kohya_runner.engines.steps_plan import SaveSettings
    from kohya_runner.findings import Finding


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
    total = _total(batches, length)
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
        buckets=_buckets(parts, counts),
        saves=plan_saves(length.saves, total=total, steps_per_epoch=steps, epochs=epochs),
    ), ()  # fmt: skip


def _total(batches: int, length: MusubiLength) -> int:
    if length.max_train_epochs is None:
        return length.max_train_steps
    return length.max_train_epochs * math.ceil(batches / length.num_processes / length.gradient_accumulation_steps)


def _counted(part: Part) -> Counter[tuple[Size, ...]]:
    """Pictures by their bucket and the sizes of their controls: only such that agree in all come into one batch."""
    keys = []
    for size, controls in part.pictures:
        bucket = part.buckets.bucket(size)
        keys.append((bucket, *(part.buckets.control(control, bucket) for control in controls)))
    return Counter(keys)


def _buckets(parts: Sequence[Part], counts: Sequence[Counter[tuple[Size, ...]]]) -> tuple[BucketCount, ...]:
    images: Counter[Size] = Counter()
    samples: Counter[Size] = Counter()
    for part, rows in zip(parts, counts, strict=True):
        for key, number in rows.items():
            images[key[0]] += number
            samples[key[0]] += number * part.repeats
    return tuple(BucketCount(*size, images[size], samples[size]) for size in sorted(images))


def _problems(parts: Sequence[Part], length: MusubiLength) -> tuple[Finding, ...]:
    if length.gradient_accumulation_steps < 1:
        text = f"gradient_accumulation_steps is {length.gradient_accumulation_steps}: must be 1 or more"
        return (error("args.gradient_accumulation_steps", text),)
    small = [size for part in parts for size, _ in part.pictures if min(part.buckets.bucket(size)) < 1]
    if small:
        text = f"{len(small)} picture(s) are smaller than the steps of a bucket, 16 pixels"
        return (error("image.size", text, hint="leave args.bucket_no_upscale out, or take larger pictures"),)
    return ()
