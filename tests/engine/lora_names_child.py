"""Writes LoRA files with the names that a trainer gives them: its own networks on its own models, made without weights.

PYTHON lora_names_child.py ENGINE CHECKOUT FOLDER NAME ...; a NAME is FAMILY.NETWORK. FOLDER gets NAME.safetensors,
of rank 1 with random numbers, so that a converter has something to do.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ENGINE, CHECKOUT, FOLDER, *NAMES = sys.argv[1:]
sys.path[:0] = [CHECKOUT] if ENGINE == "sd-scripts" else [f"{CHECKOUT}/src", f"{CHECKOUT}/src/musubi_tuner"]

import torch  # noqa: E402
import torch._dynamo  # noqa: E402 - what is imported below the meta device would be made there

ANIMA = {
    "max_img_h": 512, "max_img_w": 512, "max_frames": 128, "in_channels": 16, "out_channels": 16, "patch_spatial": 2,
    "patch_temporal": 1, "model_channels": 2048, "concat_padding_mask": True, "crossattn_emb_channels": 1024,
    "pos_emb_cls": "rope3d", "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": 28, "num_heads": 16,
    "use_llm_adapter": True, "attn_mode": "torch", "split_attn": False,
}  # fmt: skip  # library/anima_utils.py:63
SD3 = {
    "patch_size": 2, "depth": 24, "num_patches": 36864, "pos_embed_max_size": 192, "adm_in_channels": 2048,
    "qk_norm": "rms", "x_block_self_attn_layers": list(range(13)), "context_embedder_in_features": 4096,
    "context_embedder_out_features": 1536, "model_type": "5-medium",
}  # fmt: skip  # library/sd3_utils.py:61


MODULES = {
    "sd-scripts": ("model_util", "original_unet", "sdxl_original_unet", "flux_models", "sd3_models", "lumina_models",
                   "hunyuan_image_models", "anima_models"),
    "musubi-tuner": ("flux.flux_models", "flux_2.flux2_models", "krea2.krea2_utils", "krea2.krea2_mmdit",
                     "zimage.zimage_model", "qwen_image.qwen_image_model"),
}  # fmt: skip
for name in MODULES[ENGINE]:
    importlib.import_module(f"{'library' if ENGINE == 'sd-scripts' else 'musubi_tuner'}.{name}")
for name in ("CLIPTextModel", "T5EncoderModel", "Gemma2Model", "Qwen3Model"):
    getattr(importlib.import_module("transformers"), name)


def made(module: str, name: str, **given: Any) -> Any:
    return getattr(importlib.import_module(module), name)(**given)


def clip(width: int, layers: int) -> Any:
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    config = made("transformers", "CLIPTextConfig", **shape, num_attention_heads=width // 64)
    return made("transformers", "CLIPTextModel", config=config)


def t5() -> Any:
    shape = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 32128}
    config = made("transformers", "T5Config", **shape, feed_forward_proj="gated-gelu")
    return made("transformers", "T5EncoderModel", config=config)


def gemma() -> Any:
    shape = {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8}
    config = made("transformers", "Gemma2Config", **shape, num_key_value_heads=4, head_dim=256)
    return made("transformers", "Gemma2Model", config=config)


def qwen() -> Any:
    shape = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
    config = made("transformers", "Qwen3Config", **shape, num_key_value_heads=8, head_dim=128)
    return made("transformers", "Qwen3Model", config=config)


def unet(*, v2: bool) -> Any:
    config = made("library.model_util", "create_unet_diffusers_config", v2=v2)
    return made("library.original_unet", "UNet2DConditionModel", **config)


def of_config(module: str, name: str, config: Any) -> Any:
    return getattr(importlib.import_module(module), name)(config)


def flux() -> Any:
    models = importlib.import_module("library.flux_models")
    return models.Flux(models.configs["dev"].params)


def sd3() -> Any:
    models = importlib.import_module("library.sd3_models")
    return models.create_sd3_mmdit(models.SD3Params(**SD3), "torch")


def flux_kontext() -> Any:
    models = importlib.import_module("musubi_tuner.flux.flux_models")
    return models.Flux(models.configs_flux_dev_context.params)


def flux2() -> Any:
    models = importlib.import_module("musubi_tuner.flux_2.flux2_models")
    return models.Flux2(models.Flux2Params())


def krea2() -> Any:
    config = importlib.import_module("musubi_tuner.krea2.krea2_utils").single_mmdit_large_wide
    return importlib.import_module("musubi_tuner.krea2.krea2_mmdit").SingleStreamDiT(config, attn_mode="torch")


def z_image() -> Any:
    return made("musubi_tuner.zimage.zimage_model", "create_model", attn_mode="torch", split_attn=False, dtype=None)


def qwen_image() -> Any:
    names = ("split_attn", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")
    given = {"attn_mode": "torch", "dtype": None} | dict.fromkeys(names, False)
    return made("musubi_tuner.qwen_image.qwen_image_model", "create_model", **given)


# Family -> its model, its text encoders, and the network module of its LoRAs.
MODELS: dict[str, tuple[Any, Any, str]] = {
    "sd15": (lambda: unet(v2=False), lambda: [clip(768, 12)], "lora"),
    "sd2": (lambda: unet(v2=True), lambda: [clip(1024, 23)], "lora"),
    "sdxl": (lambda: made("library.sdxl_original_unet", "SdxlUNet2DConditionModel"),
             lambda: [clip(768, 12), clip(1280, 32)], "lora"),
    "sd3": (sd3, lambda: [clip(768, 12), clip(1280, 32), t5()], "lora_sd3"),
    "flux": (flux, lambda: [clip(768, 12), t5()], "lora_flux"),
    "lumina": (lambda: made("library.lumina_models", "NextDiT_2B_GQA_patch2_Adaln_Refiner"), lambda: [gemma()],
               "lora_lumina"),
    "hunyuan_image": (lambda: made("library.hunyuan_image_models", "HYImageDiffusionTransformer", attn_mode="torch"),
                      list, "lora_hunyuan_image"),
    "anima": (lambda: made("library.anima_models", "Anima", **ANIMA), lambda: [qwen()], "lora_anima"),
    "flux_kontext": (flux_kontext, list, "lora_flux"),
    "flux2": (flux2, list, "lora_flux_2"),
    "krea2": (krea2, list, "lora_krea2"),
    "z_image": (z_image, list, "lora_zimage"),
    "qwen_image": (qwen_image, list, "lora_qwen_image"),
    "qwen_image_edit": (qwen_image, list, "lora_qwen_image"),
}  # fmt: skip


def write(name: str) -> int:
    family, _, network = name.partition(".")
    make, encoders, module = MODELS[family]
    with torch.device("meta"):
        model, texts = make(), encoders()
    loaded = importlib.import_module(f"networks.{module if network == 'lora' else network}")
    create = getattr(loaded, "create_arch_network", None) or loaded.create_network
    more = {"train_t5xxl": "True"} if family in ("sd3", "flux") and network == "lora" else {}
    if network == "dylora":
        more = {"unit": 1}
    net = create(1.0, 1, 1.0, None, texts, model, **more)
    net.apply_to(texts, model, bool(texts), True)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_()
    net.save_weights(str(Path(FOLDER) / f"{name}.safetensors"), torch.bfloat16, {"ss_network_module": loaded.__name__})
    return sum(not name.startswith("mask") for name in net.state_dict())


if __name__ == "__main__":
    print(json.dumps({name: write(name) for name in NAMES}))  # noqa: T201 - for the test that called
