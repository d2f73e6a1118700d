"""Prints names and shapes of the trainer's own modules, built without weights. Runs in the trainer's Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

sys.path.insert(0, sys.argv[1])

import torch
from library import (
    anima_models,
    chroma_models,
    flux_models,
    hunyuan_image_models,
    hunyuan_image_vae,
    lumina_models,
    model_util,
    qwen_image_autoencoder_kl,
    sd3_models,
    sdxl_original_unet,
)
from library.original_unet import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

ANIMA: dict[str, Any] = {
    "max_img_h": 512, "max_img_w": 512, "max_frames": 128, "in_channels": 16, "out_channels": 16, "patch_spatial": 2,
    "patch_temporal": 1, "model_channels": 2048, "concat_padding_mask": True, "crossattn_emb_channels": 1024,
    "pos_emb_cls": "rope3d", "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": 28, "num_heads": 16,
    "use_llm_adapter": True, "attn_mode": "torch", "split_attn": False,
}  # fmt: skip  # library/anima_utils.py:63
SD35_LARGE = {
    "patch_size": 2, "depth": 38, "num_patches": 36864, "pos_embed_max_size": 192, "adm_in_channels": 2048,
    "qk_norm": "rms", "x_block_self_attn_layers": [], "context_embedder_in_features": 4096,
    "context_embedder_out_features": 2432, "model_type": "5-large",
}  # fmt: skip  # library/sd3_utils.py:61


def _clip(width: int, layers: int) -> CLIPTextModel:
    config = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers)
    return CLIPTextModel(config)


def _t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=1, vocab_size=32128))


MAKERS: dict[str, Callable[[], torch.nn.Module]] = {
    "flux": lambda: flux_models.Flux(flux_models.configs["dev"].params),
    "chroma": lambda: chroma_models.Chroma(chroma_models.chroma_params),
    "sd3": lambda: sd3_models.create_sd3_mmdit(sd3_models.SD3Params(**SD35_LARGE), "torch"),
    "lumina": lumina_models.NextDiT_2B_GQA_patch2_Adaln_Refiner,
    "hunyuan_image": lambda: hunyuan_image_models.HYImageDiffusionTransformer(attn_mode="torch"),
    "anima": lambda: anima_models.Anima(**ANIMA),
    "ae": lambda: flux_models.AutoEncoder(flux_models.configs["dev"].ae_params),
    "hunyuan_vae": hunyuan_image_vae.HunyuanVAE2D,
    "qwen_vae": qwen_image_autoencoder_kl.AutoencoderKLQwenImage,
    "clip_l": lambda: _clip(768, 1),
    "clip_g": lambda: _clip(1280, 1),
    "t5xxl": _t5,
    "sdxl": sdxl_original_unet.SdxlUNet2DConditionModel,
    "sd15 diffusers": lambda: UNet2DConditionModel(**model_util.create_unet_diffusers_config(v2=False)),
    "sd2 diffusers": lambda: UNet2DConditionModel(**model_util.create_unet_diffusers_config(v2=True)),
}

for name, make in MAKERS.items():
    with torch.device("meta"):
        module = make()
    shapes = {key: list(value.shape) for key, value in module.state_dict().items()}
    sys.stdout.write(json.dumps({"name": name, "shapes": shapes}) + "\n")
