"""What musubi-tuner's models need, by the numbers of its own modules."""

from __future__ import annotations

import pytest

from kohya_runner.machine.architectures import ARCHITECTURES
from kohya_runner.machine.sizes import LoraShape, lora_bytes


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("flux_kontext", 34),
        ("flux2", 29),
        ("flux2_klein_9b", 16),
        ("flux2_klein_4b", 13),
        ("krea2", 26),
        ("z_image", 28),
        ("qwen_image", 59),
        ("qwen_image_edit", 59),
    ],
)
def test_the_most_blocks_that_can_be_swapped_are_those_of_upstreams_own_table(name, most):
    assert ARCHITECTURES[name].most_swapped == most


def test_every_swapped_block_leaves_the_gpu():
    dev = ARCHITECTURES["flux2"]
    assert dev.split(24) == (6, 36)
    assert dev.swapped(24) == 6 * dev.double.parameters + 36 * dev.single.parameters


@pytest.mark.parametrize(
    "name", ["flux_kontext", "flux2", "flux2_klein_4b", "flux2_klein_9b", "krea2", "z_image", "qwen_image"]
)
def test_blocks_are_a_part_of_the_model(name):
    model = ARCHITECTURES[name]
    inside = model.double.count * model.double.parameters + model.single.count * model.single.parameters
    assert 0.85 * model.denoiser < inside < model.denoiser


def test_a_lora_of_klein_is_smaller_than_one_of_dev():
    small, large = (lora_bytes(LoraShape(name, dim=32, precision="bf16")) for name in ("flux2_klein_4b", "flux2"))
    assert small is not None
    assert large is not None
    assert 90_000_000 < small < large / 4
