"""Writes tiny random diffusers pipelines, in the Python of diffusers' examples: the folder's configs decide the sizes.

PYTHON tests/engine/tiny_pipelines.py sd15|sdxl FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDE, WORDS = 32, 600
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Every byte a token, alone and at the end of a word, and the two marks at the end."""
    plain = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256))]
    signs = plain + [chr(256 + n) for n in range(256 - len(plain))]
    names = [*signs, *(f"{sign}</w>" for sign in signs)]
    names += [f"filler{n}" for n in range(WORDS - 2 - len(names))]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {name: number for number, name in enumerate([*names, START, END])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=WORDS, hidden_size=WIDE, intermediate_size=WIDE, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=WORDS - 2, eos_token_id=WORDS - 1, projection_dim=WIDE,
    )  # fmt: skip


def unet(**more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, norm_num_groups=4, **more,
    )  # fmt: skip


def common() -> dict[str, Any]:
    vae = AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    return {"vae": vae, "scheduler": DDPMScheduler(beta_schedule="scaled_linear", clip_sample=False)}


def sd15(folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        **common(), unet=unet(cross_attention_dim=WIDE), text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder / "tokens"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    """Six numbers of sizes, eight wide each, and one text vector go into the added embedding."""
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    return StableDiffusionXLPipeline(
        **common(),
        unet=unet(cross_attention_dim=2 * WIDE, projection_class_embeddings_input_dim=6 * 8 + WIDE, **added),
        text_encoder=CLIPTextModel(text_config()), text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=tokenizer(folder / "tokens"), tokenizer_2=tokenizer(folder / "tokens"),
    )  # fmt: skip


if __name__ == "__main__":
    torch.manual_seed(42)
    place = Path(sys.argv[2])
    {"sd15": sd15, "sdxl": sdxl}[sys.argv[1]](place).save_pretrained(place / "model")
