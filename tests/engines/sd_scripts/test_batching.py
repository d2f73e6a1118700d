from __future__ import annotations

from typing import Any

import pytest

from kohya_runner.dataset.buckets import BucketSettings, parse_resolution
from kohya_runner.engines.sd_scripts.batching import Batching, batching_from
from kohya_runner.engines.steps_plan import SaveSettings


@pytest.mark.parametrize(
    ("value", "resolution"),
    [
        ("1024,768", (1024, 768)),
        (" 512 ", (512, 512)),
        (512, (512, 512)),
        ([1024, 768], (1024, 768)),
        ("512x512", None),
        ("1,2,3", None),
        ("", None),
        (None, None),
    ],
)
def test_a_resolution_is_read_as_the_trainer_reads_it(value: Any, resolution: tuple[int, int] | None) -> None:
    assert parse_resolution(value) == resolution


def test_absent_options_have_the_trainer_s_defaults() -> None:
    assert batching_from({"resolution": "512", "seed": None}, "x") == Batching(
        BucketSettings((512, 512), False, 256, 1024, 64, False), SaveSettings("x"), max_train_steps=1600
    )


def test_options_go_where_they_belong() -> None:
    options = {"resolution": 512, "enable_bucket": True, "save_every_n_epochs": 2, "seed": 0, "learning_rate": 1e-4}
    assert batching_from(options, "x", num_processes=2, reso_steps_divisor=32) == Batching(
        BucketSettings((512, 512), True), SaveSettings("x", save_every_n_epochs=2), num_processes=2, seed=0,
        reso_steps_divisor=32,
    )  # fmt: skip


def test_latents_cached_on_disk_are_cached() -> None:
    found = batching_from({"resolution": 512, "cache_latents_to_disk": True, "cache_latents": False}, "x")
    assert found is not None
    assert found.cache_latents


def test_without_a_resolution_nothing_is_known() -> None:
    assert batching_from({}, "x") is None
