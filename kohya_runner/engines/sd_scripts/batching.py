"""What of the trainer's options decides batches, steps and saves."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.buckets import BucketSettings, parse_resolution
from kohya_runner.engines.steps_plan import SaveSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def batching_from(
    options: Mapping[str, Any], output_name: str, *, num_processes: int = 1, reso_steps_divisor: int | None = None
) -> Batching | None:
    """The settings in options as the trainer's parser knows them, absent ones at its defaults.

    None where ``resolution`` is missing or is not one or two whole numbers: the trainer cannot start without it
    (library/train_util.py:1921, :5411).
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
        # cache_latents_to_disk turns cache_latents on (library/train_util.py:4424)
        cache_latents=bool(given.get("cache_latents") or given.get("cache_latents_to_disk")),
        face_crop="face_crop_aug_range" in given,
        **_chosen(Batching, given, "buckets", "saves", "num_processes", "reso_steps_divisor", "cache_latents"),
    )


def with_own(batching: Batching, own: Mapping[str, Any]) -> Batching:
    """The same with the options of one dataset, under the names of the trainer's dataset file."""
    values = {("train_batch_size" if name == "batch_size" else name): value for name, value in own.items()}
    buckets = replace(batching.buckets, **_chosen(BucketSettings, values, "resolution"))
    if "resolution" in values:
        buckets = replace(buckets, resolution=(values["resolution"][0], values["resolution"][1]))
    own_split = {name: values[name] for name in ("train_batch_size", *SPLIT) if name in values}
    return replace(batching, buckets=buckets, **own_split)


def _chosen(kind: type, given: Mapping[str, Any], *without: str) -> dict[str, Any]:
    names = {field.name for field in fields(kind)} - set(without)
    return {name: value for name, value in given.items() if name in names}
