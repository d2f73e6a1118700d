"""The numbers that musubi-tuner prints, from sizes and options alone."""

from __future__ import annotations

import pytest

from kohya_runner.engines.musubi.steps import MusubiBuckets, MusubiLength, Part, plan_steps
from kohya_runner.engines.steps_plan import SaveSettings

SQUARE, WIDE = (64, 64), (128, 64)
SAVES = SaveSettings("cat", save_every_n_epochs=1)


def part(*sizes, repeats=1, batch=1, controls=(), **buckets) -> Part:
    chosen = MusubiBuckets((64, 64), **{"enable_bucket": True, **buckets})
    return Part(tuple((size, controls) for size in sizes), repeats, batch, chosen)


def numbers(*parts: Part, **length) -> tuple[int, int, int, int]:
    plan, findings = plan_steps(parts, MusubiLength(SAVES, **length))
    assert plan is not None, findings
    return plan.batches_per_epoch, plan.steps_per_epoch, plan.epochs, plan.total


def test_repeats_are_applied_in_each_bucket_before_it_is_cut_into_batches():
    assert numbers(part(SQUARE, SQUARE, SQUARE, WIDE, repeats=3, batch=2), max_train_epochs=2) == (7, 7, 2, 14)


def test_accumulation_rounds_up_at_the_end_of_an_epoch():
    one = part(SQUARE, SQUARE, SQUARE, WIDE, repeats=3, batch=2)
    assert numbers(one, max_train_epochs=2, gradient_accumulation_steps=2) == (7, 4, 2, 8)


def test_processes_share_the_batches():
    assert numbers(part(*[SQUARE] * 7), max_train_epochs=2, num_processes=2) == (4, 4, 2, 8)


def test_steps_that_are_given_decide_the_epochs():
    assert numbers(part(*[SQUARE] * 4), max_train_steps=10) == (4, 4, 3, 10)


def test_datasets_are_never_mixed_in_a_batch():
    assert numbers(part(SQUARE, batch=2), part(SQUARE, batch=2), max_train_epochs=1)[0] == 2


def test_pictures_whose_controls_differ_come_into_batches_of_their_own():
    own_size = MusubiBuckets((64, 64), enable_bucket=True, no_resize_control=True)
    pictures = ((SQUARE, (SQUARE,)), (SQUARE, (WIDE,)), (SQUARE, ()))
    assert numbers(Part(pictures, 1, 4, own_size), max_train_epochs=1)[0] == 3


def test_the_last_epoch_has_no_numbered_file():
    plan, _ = plan_steps([part(SQUARE)], MusubiLength(SAVES, max_train_epochs=3))
    assert plan is not None
    assert plan.checkpoints == ("cat-000001.safetensors", "cat-000002.safetensors", "cat.safetensors")


@pytest.mark.parametrize("length", [{"max_train_steps": 0}, {"max_train_epochs": 0}, {"max_train_steps": 9_000_000}])
def test_a_run_of_no_steps_or_of_too_many_is_an_error(length):
    plan, findings = plan_steps([part(SQUARE)], MusubiLength(SAVES, **length))
    assert plan is None
    assert findings


def test_no_picture_is_an_error():
    assert [f.code for f in plan_steps([], MusubiLength(SAVES))[1]] == ["steps.none"]


def test_a_control_image_at_which_the_trainer_divides_by_zero_is_an_error():
    buckets = MusubiBuckets((64, 64), enable_bucket=True, control_resolution=(112, 64))
    found = plan_steps([Part(((SQUARE, ((60, 260),)),), 1, 1, buckets)], MusubiLength(SAVES))[1]
    assert [f.code for f in found] == ["image.size"]
    assert numbers(Part(((SQUARE, ((60, 60),)),), 1, 1, buckets), max_train_epochs=1)[0] == 1


def test_a_picture_smaller_than_a_bucket_is_an_error():
    found = plan_steps([part((8, 8), bucket_no_upscale=True)], MusubiLength(SAVES))[1]
    assert [f.code for f in found] == ["image.size"]


@pytest.mark.parametrize(
    ("size", "options", "bucket"),
    [
        ((1000, 1000), {}, (64, 64)),
        ((2000, 1000), {}, (80, 48)),
        ((1000, 2000), {}, (48, 80)),
        ((2000, 1000), {"enable_bucket": False}, (64, 64)),
        ((60, 40), {"bucket_no_upscale": True}, (48, 32)),
        ((600, 400), {"bucket_no_upscale": True}, (80, 48)),
    ],
)
def test_a_picture_goes_to_the_bucket_of_the_nearest_shape(size, options, bucket):
    assert MusubiBuckets((64, 64), **{"enable_bucket": True, **options}).bucket(size) == bucket


@pytest.mark.parametrize(
    ("options", "control"),
    [
        ({}, (64, 64)),
        ({"no_resize_control": True}, (192, 96)),
        ({"control_resolution": (128, 128)}, (176, 80)),
        ({"no_resize_control": True, "control_resolution": (64, 64)}, (80, 48)),
        ({"no_resize_control": True, "control_resolution": (512, 512)}, (200, 100)),
    ],
)
def test_a_control_image_is_brought_to_its_own_size_only_where_asked(options, control):
    assert MusubiBuckets((64, 64), enable_bucket=True, **options).control((200, 100), (64, 64)) == control
