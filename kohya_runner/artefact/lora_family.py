"""Which model family a file belongs to, told from the names and shapes in its header; else from what it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.artefact.model_identity import identify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.artefact.safetensors_header import Header

NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sd3", ("joint_blocks_",)),
    ("flux", ("single_blocks_0_linear", "single_blocks_1_linear", "single_transformer_blocks_0_attn_to")),
    ("lumina", ("noise_refiner_", "context_refiner_", "unet_layers_0_attention_qkv")),
    ("anima", ("unet_llm_adapter_", "unet_blocks_0_self_attn_q_proj")),
    ("sdxl", ("lora_te2_text_model", "unet_input_blocks_4_1_transformer_blocks_1_", "unet_middle_block_1_")),
)
"""Parts of module names (dots are underlines) that only one family has; FLUX and HunyuanImage share their blocks."""

ALIKE = {"flux": ("flux_kontext", "flux2", "hunyuan_image")}
"""Families whose modules have the same names; the trainer's own metadata tells them apart."""

CONTEXT = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""The width of the text that a U-Net's cross-attention reads."""
_CROSS = ("attn2_to_k_lora_down_weight", "attn2_to_k_lora_A_weight")

SAID: tuple[tuple[str, str], ...] = (
    ("flux_kontext", "flux_kontext"), ("flux_2", "flux2"),
    ("sd_v1", "sd15"), ("sd_v2", "sd2"), ("sdxl", "sdxl"), ("sd3", "sd3"), ("flux", "flux"), ("chroma", "flux"),
    ("lumina", "lumina"), ("hunyuan-image", "hunyuan_image"), ("anima", "anima"), ("stable-diffusion-v1", "sd15"),
    ("stable-diffusion-v2", "sd2"), ("stable-diffusion-xl", "sdxl"), ("stable-diffusion-3", "sd3"),
)  # fmt: skip
"""How ``ss_base_model_version`` (train_network.py:1027) and ``modelspec.architecture`` begin (sai_model_spec.py:70)."""
_KEYS = ("ss_base_model_version", "modelspec.architecture")


def family_of(header: Header) -> str:
    """A family of ``families.TABLE`` or another known one; "" where nothing tells."""
    names = {tensor.name.replace(".", "_"): tensor.shape for tensor in header.tensors}
    what = identify(header)
    if what is not None and what.key not in ("lora", "embedding", "controlnet"):
        return what.key
    found = _by_shape(names) or _by_name(names)
    said = _said(header.metadata)
    return said if found in ALIKE and said in ALIKE[found] else found or said


def is_lora(header: Header) -> bool:
    """Whether the file goes on top of a model as a LoRA of any kind."""
    what = identify(header)
    return what is not None and what.key == "lora"


def _by_shape(names: Mapping[str, tuple[int, ...]]) -> str:
    widths = {shape[1] for name, shape in names.items() if name.endswith(_CROSS) and len(shape) > 1}
    known = {CONTEXT[width] for width in widths if width in CONTEXT}
    return known.pop() if len(known) == len(widths) == 1 else ""


def _by_name(names: Mapping[str, tuple[int, ...]]) -> str:
    return next((family for family, parts in NAMES if any(p in name for p in parts for name in names)), "")


def _said(metadata: Mapping[str, str]) -> str:
    for value in filter(None, (metadata.get(key, "") for key in _KEYS)):
        for begin, family in SAID:
            if value.startswith(begin):
                return family
    return ""
