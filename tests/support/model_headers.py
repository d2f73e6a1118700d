"""Headers of models as they are published: the names and shapes that tell them apart, without their gigabytes."""

from __future__ import annotations

import json
import math

LDM = "model.diffusion_model."
NAMES: dict[str, dict[str, list[int]]] = {
    "sd15": {
        f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3],
        f"{LDM}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 768],
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": [49408, 768],
        "first_stage_model.encoder.conv_in.weight": [128, 3, 3, 3],
    },
    "sd2": {
        f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3],
        f"{LDM}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 1024],
        "cond_stage_model.model.token_embedding.weight": [49408, 1024],
        "first_stage_model.encoder.conv_in.weight": [128, 3, 3, 3],
    },
    "sdxl": {
        f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3],
        f"{LDM}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 2048],
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": [49408, 768],
        "first_stage_model.encoder.conv_in.weight": [128, 3, 3, 3],
    },
    "sd3": {
        f"{LDM}joint_blocks.0.context_block.attn.qkv.weight": [7296, 2432],
        f"{LDM}joint_blocks.0.context_block.attn.ln_k.weight": [64],
        f"{LDM}x_embedder.proj.weight": [2432, 16, 2, 2],
        "first_stage_model.encoder.conv_in.weight": [128, 3, 3, 3],
    },
    "flux": {"img_in.weight": [3072, 64], "double_blocks.0.img_attn.qkv.weight": [9216, 3072]},
    "chroma": {
        "img_in.weight": [3072, 64],
        "double_blocks.0.img_attn.qkv.weight": [9216, 3072],
        "distilled_guidance_layer.in_proj.weight": [5120, 64],
    },
    "lumina": {"cap_embedder.1.weight": [2304, 2304], "noise_refiner.0.attention.qkv.weight": [3840, 2304]},
    "hunyuan_image": {"img_in.proj.weight": [3584, 64, 1, 1], "byt5_in.fc1.weight": [2048, 1472]},
    "anima": {"net.llm_adapter.embed.weight": [32128, 1024], "net.x_embedder.proj.1.weight": [2048, 68]},
    "clip_l": {
        "text_model.embeddings.token_embedding.weight": [49408, 768],
        "text_model.embeddings.position_embedding.weight": [77, 768],
    },
    "clip_g": {
        "text_model.embeddings.token_embedding.weight": [49408, 1280],
        "text_model.embeddings.position_embedding.weight": [77, 1280],
    },
    "t5xxl": {
        "shared.weight": [32128, 4096],
        "encoder.block.0.layer.0.SelfAttention.q.weight": [4096, 4096],
    },
    "ae": {"encoder.down.0.block.0.norm1.weight": [128], "decoder.conv_in.weight": [512, 16, 3, 3]},
    "vae": {"encoder.down.0.block.0.norm1.weight": [128], "decoder.conv_in.weight": [512, 4, 3, 3]},
    "lora": {"lora_unet_a.lora_down.weight": [4, 320], "lora_unet_a.lora_up.weight": [320, 4], "lora_unet_a.alpha": []},
}


def without(kind: str, *parts: str) -> dict[str, list[int]]:
    """A model's names less those that begin with one of the parts."""
    return {name: shape for name, shape in NAMES[kind].items() if not name.startswith(parts)}


def header_bytes(names: dict[str, list[int]], dtype: str = "BF16", metadata: dict[str, str] | None = None) -> bytes:
    """The length and the JSON that such a file begins with."""
    rows: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end, width = 0, {"F8_E4M3": 1, "F32": 4}.get(dtype, 2)
    for name, shape in names.items():
        size = math.prod(shape) * width
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(rows).encode()
    return len(text).to_bytes(8, "little") + text


def small(names: dict[str, list[int]], metadata: dict[str, str] | None = None) -> bytes:
    """A whole file of these names and kinds, of one-byte numbers: for shapes of a few."""
    head = header_bytes(names, "F8_E4M3", metadata)
    return head + bytes(sum(math.prod(shape) for shape in names.values()))
