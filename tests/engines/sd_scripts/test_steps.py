from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import laid

from kohya_runner.dataset.facts import Folder
from kohya_runner.engines.sd_scripts.batching import batching_from
from kohya_runner.engines.sd_scripts.dataset_config import canonical
from kohya_runner.engines.sd_scripts.steps import plan_steps
from kohya_runner.engines.steps_plan import BucketCount, StepsPlan

ROOT = Path("/nowhere")
BESPOKE = {"resolution": "1024,1024", "train_batch_size": 2, "max_train_epochs": 10, "cache_latents": True}


def plan(folders: list[Folder], options: dict[str, Any], *, num_processes: int = 1) -> StepsPlan:
    batching = batching_from(options, "x", num_processes=num_processes)
    assert batching is not None
    found, findings = plan_steps(folders, batching)
    assert found is not None, findings
    return found


def codes(folders: list[Folder], options: dict[str, Any]) -> list[str]:
    batching = batching_from(options, "x")
    assert batching is not None
    return [finding.code for finding in plan_steps(folders, batching)[1]]


def sprites(count: int = 203) -> list[Folder]:
    return [laid(ROOT, [(24, 24)] * count, repeats=10)]


def test_the_proven_run_has_10150_steps() -> None:
    found = plan(sprites(), BESPOKE)
    assert (found.images_per_epoch, found.batches_per_epoch, found.epochs, found.total) == (2030, 1015, 10, 10150)
    assert found.buckets == (BucketCount(1024, 1024, 203, 2030),)


def test_each_bucket_has_its_own_last_batch() -> None:
    folder = laid(ROOT, [(512, 512)] * 3 + [(768, 384)] * 3)
    options = {"resolution": 512, "enable_bucket": True, "train_batch_size": 2}
    assert plan([folder], options).batches_per_epoch == 4


@pytest.mark.parametrize(
    ("processes", "accumulation", "batches", "steps", "total"),
    [(1, 1, 7, 7, 14), (2, 1, 4, 4, 8), (1, 2, 7, 4, 8), (3, 2, 3, 2, 4), (8, 4, 1, 1, 2)],
)
def test_processes_and_accumulation_divide(
    processes: int, accumulation: int, batches: int, steps: int, total: int
) -> None:
    options = {"resolution": 24, "max_train_epochs": 2, "gradient_accumulation_steps": accumulation}
    found = plan([laid(ROOT, [(24, 24)] * 7)], options, num_processes=processes)
    assert (found.batches_per_epoch, found.steps_per_epoch, found.total) == (batches, steps, total)


def test_without_epochs_there_are_1600_steps() -> None:
    found = plan(sprites(), {"resolution": "24"})
    assert (found.total, found.epochs) == (1600, 1)


def test_no_images_are_no_batches() -> None:
    assert codes([], BESPOKE) == ["steps.none"]


def test_zero_epochs_are_no_steps() -> None:
    assert codes(sprites(), {**BESPOKE, "max_train_epochs": 0}) == ["steps.none"]


@pytest.mark.parametrize("name", ["train_batch_size", "gradient_accumulation_steps"])
def test_a_zero_that_is_divided_by_is_an_error(name: str) -> None:
    assert codes(sprites(), {**BESPOKE, name: 0}) == [f"args.{name}"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, ["image.size"], id="neither buckets nor cache"),
        pytest.param({"cache_latents_to_disk": True}, [], id="cached on disk"),
        pytest.param({"random_crop": True}, ["image.size"], id="too small to crop"),
        pytest.param({"face_crop_aug_range": "1.0,4.0"}, [], id="face crop: not known"),
        pytest.param({"resolution": "24"}, [], id="exactly the resolution"),
        pytest.param({"resolution": "20,24", "random_crop": True}, [], id="large enough to crop"),
    ],
)
def test_an_image_the_trainer_would_stumble_over_is_an_error(options: dict[str, Any], expected: list[str]) -> None:
    assert codes(sprites(), {"resolution": "1024", **options}) == expected


def test_an_image_without_a_bucket_is_an_error_with_its_name() -> None:
    options = {"resolution": "512", "enable_bucket": True, "bucket_no_upscale": True}
    batching = batching_from(options, "x")
    assert batching is not None
    (finding,) = plan_steps(sprites(1), batching)[1]
    assert (finding.code, finding.message) == ("image.size", "1 image too small for a bucket in steps of 64: 0.png")


def test_validation_without_its_seed_trains_on_what_it_holds_out() -> None:
    assert codes(sprites(), {**BESPOKE, "validation_split": 0.1}) == ["args.validation_seed"]


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1])
def test_a_share_outside_of_0_and_1_is_an_error(share: float) -> None:
    assert codes(sprites(), {**BESPOKE, "validation_split": share}) == ["args.validation_split"]


def test_a_plan_that_chance_decides_says_so() -> None:
    folder = laid(ROOT, [(512, 512), (768, 384), (384, 768)] * 5)
    options = {"resolution": 512, "enable_bucket": True, "validation_split": 0.5}
    assert codes([folder], options) == ["args.validation_seed", "steps.validation"]
    assert not plan([folder], options).exact


def test_a_plan_that_the_order_of_folders_decides_says_so() -> None:
    wide = laid(ROOT, [(768, 384)] * 3, regularization=True)
    square = laid(ROOT, [(512, 512)] * 3, regularization=True)
    folders = [laid(ROOT, [(512, 512)] * 3), wide, square]
    options = {"resolution": 512, "enable_bucket": True, "train_batch_size": 6}
    assert codes(folders, options) == ["dataset.classes_unused", "steps.order"]


def test_pictures_of_no_more_pixels_than_skip_image_resolution_are_left_out_and_named() -> None:
    folder = laid(ROOT, [(64, 64), (128, 32), (65, 64), (300, 300)], repeats=2)
    options = {"resolution": 64, "enable_bucket": True, "min_bucket_reso": 64, "skip_image_resolution": "64"}
    assert plan([folder], options).images_per_epoch == 4
    assert "dataset.skipped" in codes([folder], options)
    assert "dataset.skipped" not in codes([folder], {**options, "skip_image_resolution": "8"})


def test_a_dataset_of_its_own_leaves_out_what_is_too_small_for_it_alone() -> None:
    own = laid(ROOT, [(64, 64), (300, 300)])
    own = replace(own, options=canonical({"skip_image_resolution": [64, 64]}))
    folders = [laid(ROOT, [(64, 64)] * 3), own]
    assert plan(folders, {"resolution": 64, "enable_bucket": True, "min_bucket_reso": 64}).images_per_epoch == 4


def test_nothing_is_left_where_all_pictures_are_too_small() -> None:
    assert codes(sprites(3), {**BESPOKE, "skip_image_resolution": "24,24"}) == ["dataset.skipped", "steps.none"]
