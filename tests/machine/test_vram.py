from __future__ import annotations

from dataclasses import replace

import pytest
from vram_figures import FIGURES, MEASURED, flux, hunyuan, sd15, sdxl

from kohya_runner.machine.architectures import ARCHITECTURES
from kohya_runner.machine.memory_savings import enough, savings
from kohya_runner.machine.memory_use import MOMENTS, VramSettings, estimate, moments
from kohya_runner.machine.sizes import NETWORKS

GIB = 2**30


def _gib(settings: VramSettings) -> float:
    found = estimate(settings)
    assert found is not None
    return found.total / GIB


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.source)
def test_the_estimate_agrees_with_a_published_figure(figure):
    assert _gib(figure.settings) <= figure.fits
    assert figure.not_on is None or _gib(figure.settings) > figure.not_on


@pytest.mark.parametrize(("source", "settings", "gigabytes"), MEASURED, ids=lambda value: str(value)[:40])
def test_the_estimate_is_within_a_tenth_of_what_another_trainer_measured(source, settings, gigabytes):
    assert _gib(settings) * GIB / 1e9 == pytest.approx(gigabytes, rel=0.1)


@pytest.mark.parametrize("family", sorted(NETWORKS))
def test_every_family_with_a_lora_has_an_architecture(family):
    assert family in ARCHITECTURES


def test_a_family_that_is_not_known_has_no_estimate():
    assert estimate(VramSettings("unheard_of", 1, 1)) is None


@pytest.mark.parametrize(
    ("family", "blocks"),
    [("flux", 35), ("sd3", 36), ("hunyuan_image", 37), ("lumina", 24), ("anima", 26), ("sdxl", 0)],
)
def test_the_largest_swap_is_the_one_the_trainer_takes(family, blocks):
    """docs/flux_train_network.md:296, docs/hunyuan_image_train_network.md:244, and the asserts of the models."""
    assert ARCHITECTURES[family].most_swapped == blocks


@pytest.mark.parametrize("settings", [flux(), sdxl(), sd15(), hunyuan()], ids=["flux", "sdxl", "sd15", "hunyuan"])
@pytest.mark.parametrize(
    "more",
    [
        {"batch": 8}, {"pixels": 4096 * 4096}, {"lora": 10**9}, {"precision": "no", "fp8": False},
        {"gradient_checkpointing": False}, {"cache_text": False, "train_text": True, "batch": 2},
        {"cache_latents": False},
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_more_of_anything_never_takes_less(settings, more):
    assert _gib(replace(settings, **more)) > _gib(settings)


def test_plain_attention_of_a_unet_costs_more_than_sdpa():
    assert _gib(sd15(efficient_attention=False)) > _gib(sd15())


def test_swapping_blocks_takes_their_weights_off_the_gpu():
    saved = _gib(flux()) - _gib(flux(blocks_to_swap=16))
    assert saved == pytest.approx((8 * 339_831_296 + 16 * 141_591_808) / GIB)


@pytest.mark.parametrize(("name", "size"), [("AdamW8bit", 2), ("Prodigy", 16), ("my.own.Optimizer", 8)])
def test_the_optimizer_decides_the_moments(name, size):
    assert moments(name) == size


def test_optimizers_are_known_in_lower_case():
    assert all(name == name.lower() for name in MOMENTS)


def test_savings_come_largest_first_and_leave_out_what_is_set_already():
    lines = [saving.line for saving in savings(flux(gradient_checkpointing=False, batch=2, fp8=False), 24 * GIB)]
    assert lines[0] == "gradient_checkpointing: true"
    assert "fp8_base: true" in lines
    assert not any("cache_latents" in line or "AdamW8bit" in line for line in lines)


def test_each_saving_says_what_it_saves_alone():
    settings = flux(gradient_checkpointing=False)
    for saving in savings(settings, 16 * GIB):
        after = estimate(replace(settings, **saving.changes))
        before = estimate(settings)
        assert before.total - after.total == saving.bytes


def test_the_fewest_lines_that_fit_are_enough():
    settings = flux(gradient_checkpointing=False)
    taken, needed = enough(settings, savings(settings, 24 * GIB), 24 * GIB)
    assert [saving.line for saving in taken] == ["gradient_checkpointing: true"]
    assert needed <= 24 * GIB


def test_as_few_blocks_are_swapped_as_do_it():
    (swap,) = [s for s in savings(flux(), 12 * GIB) if s.line.startswith("blocks_to_swap")]
    blocks = swap.changes["blocks_to_swap"]
    assert _gib(flux(blocks_to_swap=blocks)) <= 12 < _gib(flux(blocks_to_swap=blocks - 1))


def test_sdxl_may_not_cache_texts_while_it_trains_their_encoders():
    settings = sdxl(cache_text=False, train_text=True)
    (line,) = [s.line for s in savings(settings, 8 * GIB) if "cache_text" in s.line]
    assert line == "cache_text_encoder_outputs: true with args.network_train_unet_only: true"


def test_half_the_rank_is_half_the_lora():
    (saving,) = [s for s in savings(sdxl(lora=400_000_000, dim=128), 8 * GIB) if "network_dim" in s.line]
    assert (saving.line, saving.bytes) == ("network_dim: 64", 200_000_000 * 10)


def test_where_nothing_is_enough_all_lines_are_taken():
    settings = flux(batch=4)
    found = savings(settings, GIB)
    taken, needed = enough(settings, found, GIB)
    assert (taken, needed > GIB) == (found, True)
