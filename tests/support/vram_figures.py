"""Published figures: options, and the GPU they are said to need. Sizes of cards are GiB.

``fits`` is a card on which somebody says it runs; ``not_on`` a smaller card for which the same source asks for more
savings (a larger blocks_to_swap, a smaller batch), so that an estimate which fits there would be useless.
"""

from __future__ import annotations

from dataclasses import dataclass

from kohya_runner.machine.memory_use import VramSettings
from kohya_runner.machine.sizes import LoraShape, lora_bytes


@dataclass(frozen=True)
class Figure:
    """One row of a table somewhere."""

    source: str
    settings: VramSettings
    fits: float
    not_on: float | None = None


def lora(family: str, dim: int, *, text: bool = False) -> int:
    """Trained parameters."""
    return (lora_bytes(LoraShape(family, dim, text_encoder=text)) or 0) // 4


def flux(**more: object) -> VramSettings:
    """docs/flux_train_network.md: dim 16, 1024, AdamW8bit, bf16, fp8_base, everything cached."""
    usual: dict[str, object] = {
        "family": "flux", "lora": lora("flux", 16), "pixels": 1024 * 1024, "precision": "bf16", "fp8": True,
        "fp8_text": True, "gradient_checkpointing": True, "cache_latents": True, "cache_text": True,
        "train_text": False, "optimizer": "AdamW8bit", "efficient_attention": True,
    }  # fmt: skip
    return VramSettings(**(usual | more))


def sdxl(**more: object) -> VramSettings:
    """docs/train_SDXL-en.md:53-58: U-Net only, checkpointing, everything cached, 8-bit optimizer, dim 4 to 8."""
    return flux(**({"family": "sdxl", "lora": lora("sdxl", 8), "fp8": False, "fp8_text": False} | more))


def sd15(**more: object) -> VramSettings:
    return sdxl(**({"family": "sd15", "lora": lora("sd15", 16, text=True), "pixels": 512 * 512, "cache_text": False,
                    "train_text": True} | more))  # fmt: skip


def sd35(**more: object) -> VramSettings:
    return flux(**({"family": "sd3", "lora": lora("sd3", 4)} | more))


def hunyuan(**more: object) -> VramSettings:
    return flux(**({"family": "hunyuan_image", "lora": lora("hunyuan_image", 16), "fp8_text": True, "text_fp8": True,
                    "pixels": 2048 * 2048} | more))  # fmt: skip


def qwen(**more: object) -> VramSettings:
    """docs/qwen_image.md of musubi-tuner: 1024, batch 1, checkpointing; the table is of the training alone."""
    return flux(**({"family": "qwen_image", "lora": lora("qwen_image", 16), "text_fp8": True} | more))


DOCS = "docs/flux_train_network.md:284-290"
FIGURES = (
    Figure(f"{DOCS}, 24 GB: batch size 2", flux(batch=2), 24, 16),
    Figure(f"{DOCS}, 16 GB: batch size 1 and blocks_to_swap", flux(blocks_to_swap=8), 16, 12),
    Figure(f"{DOCS}, 12 GB: swap 16", flux(blocks_to_swap=16), 12, 10),
    Figure(f"{DOCS}, 10 GB: swap 22", flux(blocks_to_swap=22, text_fp8=True), 10, 8),
    Figure(f"{DOCS}, 8 GB: swap 28 and T5 in fp8", flux(blocks_to_swap=28, text_fp8=True), 8),
    Figure(f"{DOCS}, 8 GB: not with T5 in fp16", flux(blocks_to_swap=28), 10, 8),
    Figure("sd-scripts README of the sd3 branch: FLUX dim 4, batch 2, 24 GB", flux(lora=lora("flux", 4), batch=2), 24),
    Figure("FluxGym, 16 GB: 512 px, dim 4, Adafactor",
           flux(lora=lora("flux", 4), pixels=512 * 512, optimizer="Adafactor"), 16, 12),
    Figure("FluxGym, 12 GB: the same with split_mode (18 blocks)",
           flux(lora=lora("flux", 4), pixels=512 * 512, optimizer="Adafactor", blocks_to_swap=18), 12),
    Figure("ai-toolkit train_lora_flux_24gb: rank 16, 8 bit", flux(), 24),
    Figure("SimpleTuner FLUX: rank 16, bf16, 30 GB", flux(fp8=False, fp8_text=False), 30, 24),
    Figure("sd-scripts README of the sd3 branch: SD3.5 large, dim 4, batch 2, 16 GB", sd35(batch=2), 16),
    Figure("ai-toolkit train_lora_sd35_large_24gb: rank 16, 8 bit", sd35(lora=lora("sd3", 16)), 24),
    Figure("docs/train_SDXL-en.md:53: SDXL LoRA with 8 GB", sdxl(), 8, 6),
    Figure("docs/train_SDXL-en.md:53: SDXL LoRA, 10 GB recommended", sdxl(lora=lora("sdxl", 32)), 10),
    Figure("docs/train_network_advanced.md:213: SDXL can need more than 24 GB",
           sdxl(batch=2, gradient_checkpointing=False, cache_text=False, train_text=True,
                lora=lora("sdxl", 32, text=True), optimizer="AdamW"), 48, 24),
    Figure("recipes/bespoke_baby_sdxl.yaml: dim 128, batch 2, text encoders trained, 24 GB",
           sdxl(lora=lora("sdxl", 128, text=True), batch=2, cache_text=False, train_text=True), 24, 12),
    Figure("invoke-training sdxl_lora_baroque_1x24gb: AdamW, batch 4", sdxl(batch=4, optimizer="AdamW"), 24),
    Figure("docs/train_network_README-ja.md:11: SD 1.5 LoRA barely on 8 GB",
           sd15(gradient_checkpointing=False, optimizer="AdamW"), 8),
    Figure("recipes/sd15_lora.yaml: batch 2, 8 GB", sd15(batch=2), 8),
    Figure("invoke-training sd_lora_baroque_1x8gb: Prodigy, batch 4", sd15(batch=4, optimizer="Prodigy"), 8),
    Figure("docs/hunyuan_image_train_network.md:235: 40 GB, no savings", hunyuan(fp8=False), 40, 24),
    Figure("docs/hunyuan_image_train_network.md:236: 24 GB, swap 9", hunyuan(blocks_to_swap=9), 24, 12),
    Figure("docs/hunyuan_image_train_network.md:237: 12 GB, swap 32", hunyuan(blocks_to_swap=32), 12, 8),
    Figure("docs/qwen_image.md of musubi-tuner: 42 GB, no savings", qwen(fp8=False), 48, 40),
    Figure("docs/qwen_image.md of musubi-tuner: 30 GB in scaled fp8", qwen(), 30, 24),
    Figure("docs/qwen_image.md of musubi-tuner: 24 GB, swap 16", qwen(blocks_to_swap=16), 24, 16),
    Figure("docs/qwen_image.md of musubi-tuner: 12 GB, swap 45", qwen(blocks_to_swap=45), 12, 10),
    Figure("docs/hunyuan_image_train_network.md:193, :238: 8 GB, swap 37, text encoders on the CPU",
           hunyuan(blocks_to_swap=37, text_on_cpu=True), 8),
)  # fmt: skip
MEASURED = (
    ("SimpleTuner quickstart/FLUX.md, rank 16: int8", flux(), 18.0),
    ("SimpleTuner quickstart/FLUX.md, rank 16: bf16", flux(fp8=False, fp8_text=False), 30.0),
)
"""Another trainer's own measurements in GB: weights of the same size, other code."""
