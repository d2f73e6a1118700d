"""Asks ComfyUI itself: which names of LoRA modules its loaders know, and which keys of files they load.

PYTHON comfyui_child.py CHECKOUT [FAMILY=FILE ...] prints one JSON object. Models are made without weights, text
encoders as far as their names need it. Runs in a Python that has ComfyUI's packages.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from typing import Any

CHECKOUT, FILES = sys.argv[1], sys.argv[2:]
sys.path.insert(0, CHECKOUT)
sys.argv = [sys.argv[0], "--cpu"]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.lora  # noqa: E402
import comfy.lora_convert  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.supported_models  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402

UNET = {
    "use_checkpoint": False, "image_size": 32, "out_channels": 4, "use_spatial_transformer": True, "legacy": False,
    "in_channels": 4, "model_channels": 320, "use_temporal_attention": False, "use_temporal_resblock": False,
}  # fmt: skip
SD1 = {
    **UNET, "adm_in_channels": None, "num_res_blocks": [2, 2, 2, 2], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "channel_mult": [1, 2, 4, 4], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
}  # fmt: skip
SDXL = {
    **UNET, "num_classes": "sequential", "adm_in_channels": 2816, "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10], "channel_mult": [1, 2, 4], "transformer_depth_middle": 10,
    "use_linear_in_transformer": True, "context_dim": 2048, "num_head_channels": 64,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
}  # fmt: skip
CONTEXT = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}}
SD3 = {
    "in_channels": 16, "patch_size": 2, "out_channels": 16, "input_size": None, "adm_in_channels": 2048,
    "context_embedder_config": CONTEXT, "num_patches": 36864, "pos_embed_max_size": 192,
    "pos_embed_scaling_factor": None,
}  # fmt: skip
FLUX = {
    "image_model": "flux", "axes_dim": [16, 56, 56], "num_heads": 24, "mlp_ratio": 4.0, "theta": 10000,
    "out_channels": 16, "qkv_bias": True, "txt_ids_dims": [], "in_channels": 16, "hidden_size": 3072,
    "context_in_dim": 4096, "patch_size": 2, "vec_in_dim": 768, "depth": 19, "depth_single_blocks": 38,
    "guidance_embed": True, "yak_mlp": False, "txt_norm": False,
}  # fmt: skip
FLUX2 = {
    **FLUX, "image_model": "flux2", "axes_dim": [32, 32, 32, 32], "num_heads": 48, "mlp_ratio": 3.0, "theta": 2000,
    "out_channels": 128, "global_modulation": True, "mlp_silu_act": True, "qkv_bias": False, "ops_bias": False,
    "txt_ids_dims": [3], "patch_size": 1, "in_channels": 128, "hidden_size": 6144, "context_in_dim": 15360,
    "vec_in_dim": None, "depth": 8, "depth_single_blocks": 48,
}  # fmt: skip
LUMINA = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 2304, "cap_feat_dim": 2304, "n_layers": 26,
    "qk_norm": True, "n_heads": 24, "n_kv_heads": 8, "axes_dims": [32, 32, 32], "axes_lens": [300, 512, 512],
    "rope_theta": 10000.0, "ffn_dim_multiplier": 4.0,
}  # fmt: skip
Z_IMAGE = {
    **LUMINA, "dim": 3840, "cap_feat_dim": 2560, "n_layers": 30, "n_heads": 30, "n_kv_heads": 30,
    "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0, "ffn_dim_multiplier": 8.0 / 3.0,
    "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
}  # fmt: skip
HUNYUAN = {
    "image_model": "hunyuan_video", "in_channels": 64, "patch_size": [1, 1], "out_channels": 64, "vec_in_dim": None,
    "axes_dim": [64, 64], "meanflow": False, "context_in_dim": 3584, "hidden_size": 3584, "mlp_ratio": 4.0,
    "num_heads": 28, "depth": 20, "depth_single_blocks": 40, "theta": 256, "qkv_bias": True, "byt5": True,
    "guidance_embed": False, "use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False,
}  # fmt: skip
ANIMA = {
    "image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
    "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 2048, "concat_padding_mask": True,
    "crossattn_emb_channels": 1024, "pos_emb_cls": "rope3d", "pos_emb_learnable": True, "pos_emb_interpolation": "crop",
    "min_fps": 1, "max_fps": 30, "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": 28, "num_heads": 16,
    "extra_per_block_abs_pos_emb": False,
}  # fmt: skip
QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60}
KREA2 = {
    "image_model": "krea2", "features": 6144, "channels": 16, "patch": 2, "layers": 28, "heads": 48, "kvheads": 12,
    "txtlayers": 12, "txtdim": 2560,
}  # fmt: skip

# Family -> the class of the model, what makes it, and the text encoder's factory: module, function, its arguments.
MODELS: dict[str, tuple[str, dict[str, Any], tuple[str, str, dict[str, Any] | None]]] = {
    "sd15": ("SD15", {**SD1, "context_dim": 768, "num_heads": 8}, ("sd1_clip", "SD1ClipModel", None)),
    "sd2": ("SD20", {**SD1, "context_dim": 1024, "num_head_channels": 64, "use_linear_in_transformer": True},
            ("text_encoders.sd2_clip", "SD2ClipModel", None)),
    "sdxl": ("SDXL", SDXL, ("sdxl_clip", "SDXLClipModel", None)),
    "sd3": ("SD3", {**SD3, "depth": 38, "qk_norm": "rms", "x_block_self_attn_layers": list(range(13))},
            ("text_encoders.sd3_clip", "sd3_clip", {"clip_l": True, "clip_g": True, "t5": True})),
    "flux": ("Flux", FLUX, ("text_encoders.flux", "flux_clip", {})),
    "flux_kontext": ("Flux", FLUX, ("text_encoders.flux", "flux_clip", {})),
    "flux2": ("Flux2", FLUX2, ("text_encoders.flux", "klein_te", {})),
    "lumina": ("Lumina2", LUMINA, ("text_encoders.lumina2", "te", {})),
    "hunyuan_image": ("HunyuanImage21", HUNYUAN, ("text_encoders.hunyuan_image", "te", {})),
    "anima": ("Anima", ANIMA, ("text_encoders.anima", "te", {})),
    "krea2": ("Krea2", KREA2, ("text_encoders.krea2", "te", {})),
    "z_image": ("ZImage", Z_IMAGE, ("text_encoders.z_image", "te", {})),
    "qwen_image": ("QwenImage", QWEN, ("text_encoders.qwen_image", "te", {})),
    "qwen_image_edit": ("QwenImage", QWEN, ("text_encoders.qwen_image", "te", {})),
}  # fmt: skip


class Lost(logging.Handler):
    """Collects what ComfyUI says of the keys that it did not load."""

    keys: list[str]

    def emit(self, record: logging.LogRecord) -> None:
        begin, _, key = record.getMessage().partition("lora key not loaded: ")
        if not begin:
            self.keys.append(key)


def model_of(family: str) -> Any:
    name, config, _ = MODELS[family]
    made = getattr(comfy.supported_models, name)({**config, "dtype": torch.bfloat16})
    with torch.device("meta"):
        return made.get_model({}, device="meta")


def text_of(family: str) -> Any:
    module, name, given = MODELS[family][2]
    factory = getattr(importlib.import_module(f"comfy.{module}"), name)
    with torch.device("meta"):
        return (factory if given is None else factory(**given))(device="meta", dtype=torch.bfloat16)


def key_map(family: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    model = model_of(family)
    return model, comfy.lora.model_lora_keys_unet(model, {}), comfy.lora.model_lora_keys_clip(text_of(family), {})


def loaded(path: str, known: dict[str, Any]) -> dict[str, Any]:
    lost = Lost()
    lost.keys = []
    logging.getLogger().addHandler(lost)
    weights = comfy.lora_convert.convert_lora(comfy.utils.load_torch_file(path, safe_load=True))
    patches = comfy.lora.load_lora(weights, known)
    logging.getLogger().removeHandler(lost)
    return {"keys": len(weights), "patches": len(patches), "lost": lost.keys}


def main() -> None:
    asked = [text.partition("=")[::2] for text in FILES]
    found: dict[str, Any] = {}
    for family in dict.fromkeys(f for f, _ in asked) if asked else MODELS:
        model, unet, clip = key_map(family)
        files = [loaded(path, {**unet, **clip}) for other, path in asked if other == family]
        found[family] = (
            {"files": files} if asked else {"state": list(model.state_dict()), "unet": list(unet), "clip": list(clip)}
        )
    print(json.dumps(found))  # noqa: T201 - for the test that called


if __name__ == "__main__":
    main()
