from __future__ import annotations

from pathlib import Path

import pytest
from pictures import laid

from kohya_runner.engines.sd_scripts.batching import Sample, Split, orders, register, regularize

SIZE = (64, 64)
ROOT = Path("/nowhere")


def test_repeats_multiply() -> None:
    found = register([laid(ROOT, [SIZE] * 3, repeats=10)], Split())
    assert (found.training, len(found.samples)) == (30, 3)


@pytest.mark.parametrize(
    ("images", "repeats", "wanted", "used"),
    [
        pytest.param(4, 1, 10, [3, 3, 2, 2], id="fewer: more repeats in turn"),
        pytest.param(10, 1, 4, [1, 1, 1, 1], id="more: the rest is unused"),
        pytest.param(5, 3, 4, [3, 3], id="more: the last one's repeats are kept"),
        pytest.param(4, 1, 4, [1, 1, 1, 1], id="as many"),
        pytest.param(4, 1, 0, [], id="nothing to balance"),
        pytest.param(0, 1, 4, [], id="no class images"),
    ],
)
def test_class_images_balance_the_training_images(images: int, repeats: int, wanted: int, used: list[int]) -> None:
    folder = laid(ROOT, [SIZE] * images)
    samples = [Sample(entry, repeats) for entry in folder.entries]
    assert [sample.repeats for sample in regularize(samples, wanted)] == used


def test_validation_holds_out_a_rounded_share_of_each_folder_and_no_class_images() -> None:
    folders = [laid(ROOT, [SIZE] * 11, repeats=5), laid(ROOT, [SIZE] * 4, regularization=True)]
    found = register(folders, Split(0.2, validation_seed=1))
    assert (found.training, found.validation, found.regularization) == (45, 2, 4)


def test_the_validation_seed_decides_which_images_are_held_out() -> None:
    folder = laid(ROOT, [(n, n) for n in range(1, 30)])
    sizes = [{s.entry.size for s in register([folder], Split(0.5, seed)).samples} for seed in (1, 1, 2)]
    assert sizes[0] == sizes[1]
    assert sizes[0] != sizes[2]


def test_one_class_folder_has_no_other_order() -> None:
    folders = [laid(ROOT, [SIZE]), laid(ROOT, [SIZE], regularization=True)]
    assert list(orders(folders, Split())) == []


def test_two_class_folders_have_two_orders() -> None:
    folders = [laid(ROOT, [SIZE]), *[laid(ROOT, [SIZE], regularization=True)] * 2]
    assert len(list(orders(folders, Split()))) == 2
