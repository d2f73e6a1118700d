"""What of the options and the pictures decides batches: resolution, repeats, validation, class images."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from kohya_runner.dataset.buckets import BucketSettings, parse_resolution
from kohya_runner.dataset.facts import Entry, Folder
from kohya_runner.engines.steps_plan import SaveSettings

SPLIT = ("validation_split", "validation_seed")


@dataclass(frozen=True, slots=True)
class Batching:
    """Everything in the options that decides the numbers; the fields have the trainer's names and defaults."""

    buckets: BucketSettings
    saves: SaveSettings
    train_batch_size: int = 1
    gradient_accumulation_steps: int = 1
    num_processes: int = 1
    max_train_epochs: int | None = None
    max_train_steps: int = 1600
    validation_split: float = 0.0
    validation_seed: int | None = None
    seed: int | None = None
    cache_latents: bool = False
    random_crop: bool = False
    face_crop: bool = False  # face_crop_aug_range is set
    reso_steps_divisor: int | None = None  # what the script asks of bucket_reso_steps
    skipped: tuple[int, int] | None = None  # skip_image_resolution: pictures of no more pixels are left out


def batching_from(
    options: Mapping[str, Any], output_name: str, *, num_processes: int = 1, reso_steps_divisor: int | None = None
) -> Batching | None:
    """The settings in options as the trainer's parser knows them, absent ones at its defaults.

    None where ``resolution`` is missing or is not one or two whole numbers: the trainer cannot start without it
    (library/dreambooth_dataset.py:65, library/accelerator_setup.py:51).
    """
    resolution = parse_resolution(options.get("resolution"))
    if resolution is None:
        return None
    given = {name: value for name, value in options.items() if value is not None}
    return Batching(
        BucketSettings(resolution, **_chosen(BucketSettings, given, "resolution")),
        SaveSettings(output_name, **_chosen(SaveSettings, given, "output_name")),
        num_processes=num_processes,
        reso_steps_divisor=reso_steps_divisor,
        # cache_latents_to_disk turns cache_latents on (library/args.py:825)
        cache_latents=bool(given.get("cache_latents") or given.get("cache_latents_to_disk")),
        face_crop="face_crop_aug_range" in given,
        skipped=parse_resolution(given["skip_image_resolution"]) if "skip_image_resolution" in given else None,
        **_chosen(Batching, given, "buckets", "saves", "num_processes", "reso_steps_divisor", "cache_latents"),
    )


def with_own(batching: Batching, own: Mapping[str, Any]) -> Batching:
    """The same with the options of one dataset, under the names of the trainer's dataset file."""
    values = {("train_batch_size" if name == "batch_size" else name): value for name, value in own.items()}
    buckets = replace(batching.buckets, **_chosen(BucketSettings, values, "resolution"))
    if "resolution" in values:
        buckets = replace(buckets, resolution=(values["resolution"][0], values["resolution"][1]))
    if "skip_image_resolution" in values:
        batching = replace(batching, skipped=tuple(values["skip_image_resolution"]))
    own_split = {name: values[name] for name in ("train_batch_size", *SPLIT) if name in values}
    return replace(batching, buckets=buckets, **own_split)


def _chosen(kind: type, given: Mapping[str, Any], *without: str) -> dict[str, Any]:
    names = {field.name for field in fields(kind)} - set(without)
    return {name: value for name, value in given.items() if name in names}


def large_enough(folders: Sequence[Folder], skipped: tuple[int, int] | None) -> tuple[Folder, ...]:
    """Without the pictures that ``skip_image_resolution`` leaves out by their number of pixels.

    As library/dreambooth_dataset.py:188, library/finetuning_dataset.py:230 do.
    """
    if skipped is None:
        return tuple(folders)
    least = skipped[0] * skipped[1]
    return tuple(replace(f, entries=tuple(e for e in f.entries if e.size[0] * e.size[1] > least)) for f in folders)


MOST_ORDERED = 4
"""Folders whose orders are all tried: 24 orders."""


@dataclass(frozen=True, slots=True)
class Sample:
    entry: Entry
    repeats: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What an epoch consists of. ``training``, ``regularization`` and ``validation`` are the printed numbers."""

    samples: tuple[Sample, ...]
    training: int
    regularization: int
    regularization_used: int
    validation: int


@dataclass(frozen=True, slots=True)
class Split:
    share: float = 0.0
    validation_seed: int | None = None
    seed: int | None = None

    @property
    def by_chance(self) -> bool:
        return self.share > 0 and self.validation_seed is None and self.seed is None


def register(folders: Sequence[Folder], split: Split) -> Registered:
    """The samples of an epoch, by the rules of library/dreambooth_dataset.py:274-345.

    Folders count in the order given; the trainer takes the file system's order.
    """
    training = [folder for folder in folders if not folder.regularization]
    chance = random.Random(split.seed)  # noqa: S311 - the trainer's own generator
    parts = [(folder, *_split(folder, split, chance)) for folder in training]
    samples = [Sample(entry, folder.repeats) for folder, kept, _ in parts for entry in kept]
    wanted = sum(sample.repeats for sample in samples)
    classes = [Sample(e, folder.repeats) for folder in folders if folder.regularization for e in folder.entries]
    used = regularize(classes, wanted)
    return Registered(
        (*samples, *used),
        training=wanted,
        regularization=sum(sample.repeats for sample in classes),
        regularization_used=sum(sample.repeats for sample in used),
        validation=sum(held for _, _, held in parts),
    )


def regularize(classes: Sequence[Sample], wanted: int) -> tuple[Sample, ...]:
    """As many regularization samples as there are training samples (library/dreambooth_dataset.py:328-345).

    Images with their repeats until there are enough, then one more repeat each in turn until there are enough.
    """
    used: list[Sample] = []
    number = 0
    for sample in classes:
        if number >= wanted:
            break
        used.append(sample)
        number += sample.repeats
    rounds, rest = divmod(max(wanted - number, 0), len(used)) if used else (0, 0)
    return tuple(Sample(s.entry, s.repeats + rounds + (1 if i < rest else 0)) for i, s in enumerate(used))


def orders(folders: Sequence[Folder], split: Split) -> Iterator[tuple[Folder, ...]]:
    """Other orders of the folders that could make another epoch; with many folders only the reverse."""
    classes = [folder for folder in folders if folder.regularization]
    training = [folder for folder in folders if not folder.regularization]
    moved = classes if len(classes) > 1 else []
    if split.share > 0 and split.validation_seed is None and split.seed is not None and len(training) > 1:
        moved = [*training, *moved]
    if len(moved) > MOST_ORDERED:
        yield tuple(reversed(folders))
    elif moved:
        fixed = [folder for folder in folders if not any(folder is other for other in moved)]
        yield from ((*fixed, *order) for order in itertools.permutations(moved))


def _split(folder: Folder, split: Split, chance: random.Random) -> tuple[tuple[Entry, ...], int]:
    """The images of a folder that are trained on, and how many are held out (library/dataset.py:107-141)."""
    entries = list(folder.entries)
    if split.share <= 0 or not entries:
        return folder.entries, 0
    generator = chance if split.validation_seed is None else random.Random(split.validation_seed)  # noqa: S311
    generator.shuffle(entries)
    kept = math.ceil(len(entries) * (1 - split.share))
    return tuple(entries[:kept]), round(len(entries) * split.share)
