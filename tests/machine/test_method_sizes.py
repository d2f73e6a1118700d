from __future__ import annotations

import pytest

from kohya_runner.machine.memory_use import VramSettings, estimate
from kohya_runner.machine.sizes import DitLlliteShape, MethodShape, checkpoint_bytes, trained_parameters
from kohya_runner.machine.sizes import method_state_bytes as state_bytes

GB = 10**9


@pytest.mark.parametrize(
    ("embedding", "rank", "parameters"),
    [(32, 64, 22_969_600), (16, 64, 22_122_624), (32, 32, 11_918_080), (32, 128, 45_908_224), (8, 4, 1_564_672)],
)
def test_lllite_has_as_many_parameters_as_the_trainers_own_module(embedding, rank, parameters):
    assert trained_parameters(MethodShape("sdxl", "lllite", embedding=embedding, rank=rank)) == parameters


@pytest.mark.parametrize(
    ("family", "output", "width", "gigabytes"),
    [
        ("sd15", "model", 2, 2.13), ("sdxl", "model", 2, 6.94), ("sdxl", "model", 4, 13.88), ("flux", "model", 2, 23.8),
        ("sdxl", "controlnet", 2, 2.50), ("flux", "controlnet", 2, 1.49), ("sd2", "model", 2, 2.58),
        ("sd3", "model", 2, 16.28), ("lumina", "model", 2, 5.22), ("anima", "model", 2, 4.18),
        ("sd2", "controlnet", 2, 0.73),
    ],
)  # fmt: skip
def test_a_checkpoint_is_as_large_as_it_is_known_to_be(family, output, width, gigabytes):
    assert checkpoint_bytes(MethodShape(family, output, width)) == pytest.approx(gigabytes * GB, rel=0.01)


def test_an_embedding_is_its_vectors():
    assert checkpoint_bytes(MethodShape("sdxl", "embedding", 4, vectors=4)) == 4 * (768 + 1280) * 4


def test_a_state_holds_the_trained_part_alone():
    assert state_bytes(MethodShape("sdxl", "controlnet")) == 1_251_014_160 * 12


def test_an_unknown_family_has_no_size():
    assert checkpoint_bytes(MethodShape("nova", "model")) is None


def test_a_full_fine_tune_of_sdxl_in_fp32_does_not_fit_24_gb_and_fused_in_bf16_does():
    plain = VramSettings("sdxl", 2_567_463_684, 1024 * 1024, precision="bf16", whole=True, network=False,
                         gradient_checkpointing=True, cache_latents=True, cache_text=True, train_text=False,
                         efficient_attention=True)  # fmt: skip
    fused = VramSettings("sdxl", 2_567_463_684, 1024 * 1024, precision="bf16", whole=True, network=False, fused=True,
                         full_half=True, gradient_checkpointing=True, cache_latents=True, cache_text=True,
                         train_text=False, efficient_attention=True, optimizer="Adafactor")  # fmt: skip
    assert estimate(plain).total > 40 * GB
    assert estimate(fused).total < 20 * GB


@pytest.mark.parametrize(
    ("row", "parameters"),
    [
        (("self_attn_q", 64, 32, 64, 1, 3, False), 7_812_320),
        (("self_attn_qkv_cross_q", 16, 8, 32, 2, 4, True), 7_733_784),
        (("mlp_fc1_pre, self_attn_q_pre", 64, 32, 64, 1, 3, False), 15_504_480),
    ],
)
def test_animas_lllite_has_as_many_parameters_as_the_trainers_own_classes(row, parameters):
    assert trained_parameters(MethodShape("anima", "lllite", dit=DitLlliteShape(*row))) == parameters
