"""Datasets and options that the plan and the real trainer have to agree about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SQUARE = ((64, 64),) * 5
MIXED = (
    (64, 64),
    (300, 64),
    (64, 300),
    (100, 90),
    (257, 255),
    (700, 280),
    (399, 701),
    (64, 65),
    (320, 320),
    (97, 131),
)
BUCKETS: dict[str, Any] = {"resolution": "256", "enable_bucket": True, "min_bucket_reso": 64, "max_bucket_reso": 512}
PLAIN: dict[str, Any] = {"resolution": "64"}
EPOCHS = {"max_train_epochs": 2}


@dataclass(frozen=True)
class Data:
    """One dataset entry: a concept and the sizes of its images."""

    sizes: tuple[tuple[int, int], ...]
    concept: str = "my cat"
    repeats: int = 1
    regularization: bool = False


@dataclass(frozen=True)
class Case:
    """A dataset and the options that decide about it."""

    data: tuple[Data, ...]
    options: dict[str, Any]


def reg(*sizes: tuple[int, int], repeats: int = 1, concept: str = "cat") -> Data:
    return Data(sizes, concept=concept, repeats=repeats, regularization=True)


CASES = {
    "no buckets, batches of 2": Case((Data(SQUARE, repeats=3),), {**PLAIN, **EPOCHS, "train_batch_size": 2}),
    "no buckets, cached, any size": Case(
        (Data(MIXED[:4]),), {**PLAIN, **EPOCHS, "cache_latents": True, "vae_batch_size": 8}
    ),
    "buckets": Case((Data(MIXED, repeats=3),), {**BUCKETS, **EPOCHS, "train_batch_size": 4}),
    "buckets, wide resolution": Case((Data(MIXED),), {**BUCKETS, **EPOCHS, "resolution": "384,192"}),
    "buckets, limits between steps": Case(
        (Data(MIXED),), {**BUCKETS, **EPOCHS, "min_bucket_reso": 100, "max_bucket_reso": 300, "train_batch_size": 2}
    ),
    "buckets in steps of 128": Case(
        (Data(MIXED),), {**BUCKETS, **EPOCHS, "min_bucket_reso": 128, "bucket_reso_steps": 128}
    ),
    "buckets without upscale": Case(
        (Data((*MIXED, (1200, 110), (513, 512)), repeats=2),),
        {**BUCKETS, **EPOCHS, "bucket_no_upscale": True, "train_batch_size": 3},
    ),
    "an image of a bucket's own size": Case((Data(((512, 128), (256, 256), (511, 128))),), {**BUCKETS, **EPOCHS}),
    "accumulation": Case(
        (Data(SQUARE, repeats=3),), {**PLAIN, **EPOCHS, "train_batch_size": 2, "gradient_accumulation_steps": 3}
    ),
    "steps instead of epochs": Case(
        (Data(SQUARE, repeats=3),), {**PLAIN, "max_train_steps": 37, "train_batch_size": 2}
    ),
    "steps, accumulation, buckets": Case(
        (Data(MIXED),), {**BUCKETS, "max_train_steps": 11, "train_batch_size": 2, "gradient_accumulation_steps": 4}
    ),
    "fewer steps than an epoch": Case((Data(SQUARE),), {**PLAIN, "max_train_steps": 3, "save_every_n_epochs": 1}),
    "fewer class images": Case(
        (Data(SQUARE, repeats=3), reg(*MIXED[:4])), {**BUCKETS, **EPOCHS, "train_batch_size": 2}
    ),
    "more class images": Case((Data(SQUARE), reg(*MIXED, repeats=3)), {**BUCKETS, **EPOCHS, "train_batch_size": 2}),
    "as many class images": Case((Data(SQUARE, repeats=2), reg(*MIXED)), {**BUCKETS, **EPOCHS}),
    "several concepts and class folders": Case(
        (
            Data(SQUARE, repeats=2),
            Data(MIXED, concept="dog_of_1_day", repeats=5),
            Data(MIXED[:3], concept="dog_of_1_day", repeats=5),
            reg((64, 64), (64, 64)),
            reg((64, 64), (64, 64), concept="dog"),
        ),
        {**BUCKETS, **EPOCHS, "train_batch_size": 4},
    ),
    "the last 2 epochs and states": Case(
        (Data(SQUARE),),
        {**PLAIN, "max_train_epochs": 7, "save_every_n_epochs": 2, "save_last_n_epochs": 2, "save_state": True},
    ),
    "more states than checkpoints": Case(
        (Data(SQUARE),),
        {
            **PLAIN,
            "max_train_epochs": 6,
            "save_every_n_epochs": 1,
            "save_last_n_epochs": 1,
            "save_last_n_epochs_state": 3,
            "save_state": True,
        },
    ),
    "no epoch is kept": Case(
        (Data(SQUARE),), {**PLAIN, "max_train_epochs": 3, "save_every_n_epochs": 1, "save_last_n_epochs": 0}
    ),
    "the last steps": Case(
        (Data(SQUARE),),
        {
            **PLAIN,
            "max_train_steps": 23,
            "save_every_n_steps": 3,
            "save_last_n_steps": 7,
            "save_last_n_steps_state": 4,
            "save_state": True,
            "save_every_n_epochs": 2,
        },
    ),
    "steps at an epoch's end": Case(
        (Data(SQUARE),), {**PLAIN, **EPOCHS, "save_every_n_steps": 5, "save_every_n_epochs": 1}
    ),
    "small pictures are left out": Case(
        (Data(MIXED, repeats=3), Data(SQUARE, concept="dog"), reg(*MIXED[:4])),
        {**BUCKETS, **EPOCHS, "skip_image_resolution": "100,90", "train_batch_size": 2},
    ),
    "small pictures are left out of a validation": Case(
        (Data(MIXED, repeats=2),),
        {**BUCKETS, **EPOCHS, "skip_image_resolution": "80", "validation_split": 0.3, "validation_seed": 7},
    ),
    "a ratio of epochs": Case(
        (Data(SQUARE),), {**PLAIN, "max_train_epochs": 7, "save_n_epoch_ratio": 3, "save_every_n_epochs": 5}
    ),
    "a state at the end": Case((Data(SQUARE),), {**PLAIN, **EPOCHS, "save_state_on_train_end": True}),
    "validation with its seed": Case(
        (Data(MIXED, repeats=3), Data(MIXED, concept="dog"), reg(*SQUARE)),
        {**BUCKETS, **EPOCHS, "validation_split": 0.3, "validation_seed": 7, "train_batch_size": 2},
    ),
    "validation with the run's seed": Case(
        (Data(MIXED, repeats=3),), {**BUCKETS, **EPOCHS, "validation_split": 0.35, "seed": 5}
    ),
}

FATAL = {
    "resolution below min_bucket_reso": (
        Case((Data(SQUARE),), {**BUCKETS, "resolution": "192", "min_bucket_reso": 256}),
        "args.bucket_min",
    ),
    "resolution above max_bucket_reso": (Case((Data(SQUARE),), {**BUCKETS, "resolution": "640"}), "args.bucket_max"),
    "min_bucket_reso below a step": (Case((Data(SQUARE),), {**BUCKETS, "min_bucket_reso": 32}), "args.bucket_min"),
    "odd steps": (Case((Data(SQUARE),), {**BUCKETS, "bucket_reso_steps": 32}), "args.bucket_reso_steps"),
    "a side below a step": (Case((Data(((64, 64), (300, 40))),), {**BUCKETS, "bucket_no_upscale": True}), "image.size"),
    "so long that a side becomes 0": (
        Case((Data(((64, 64), (2048, 64))),), {**BUCKETS, "bucket_no_upscale": True}),
        "image.size",
    ),
    "too large, neither buckets nor cache": (Case((Data(((64, 64), (65, 64))),), {**PLAIN, **EPOCHS}), "image.size"),
    "too small, neither buckets nor cache": (Case((Data(((64, 64), (63, 64))),), {**PLAIN, **EPOCHS}), "image.size"),
    "class images only": (Case((reg(*SQUARE),), {**PLAIN, **EPOCHS}), "steps.none"),
    "a save every 0 steps": (
        Case((Data(SQUARE),), {**PLAIN, **EPOCHS, "save_every_n_steps": 0}),
        "args.save_every_n_steps",
    ),
    "a save every 0 epochs": (
        Case((Data(SQUARE),), {**PLAIN, **EPOCHS, "save_every_n_epochs": 0}),
        "args.save_every_n_epochs",
    ),
    "batches of 0": (Case((Data(SQUARE),), {**PLAIN, **EPOCHS, "train_batch_size": 0}), "args.train_batch_size"),
}
