"""The rows of the methods beside LoRA: each is its family's LoRA row with what differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.engines.families import Support

SAFETENSORS = {"save_model_as": "safetensors"}
"""The full fine-tunes save in the format of their source, as .ckpt from a .safetensors; textual inversion as .pt
(sdxl_train.py:238, train_db.py:145, train_textual_inversion.py:786)."""
UNET = "model.diffusion_model."
MODEL: Mapping[str, Any] = {
    "network_module": "",
    "modules": None,
    "output": "model",
    "added": SAFETENSORS,
    "holds": UNET,
}
DREAMBOOTH: Mapping[str, Any] = {**MODEL, "concept_prompts": True}
CONTROL: Mapping[str, Any] = {
    "network_module": "", "modules": None, "data": "pairs", "regularization": False, "added": SAFETENSORS,
}  # fmt: skip
TORCH = {**SAFETENSORS, "attn_mode": "torch"}
"""anima_train.py takes attn_mode as it is, and without stops at the first step (library/anima_models.py:372)."""
V2 = {**SAFETENSORS, "v2": True}
EMBEDDING: Mapping[str, Any] = {
    "network_module": "", "modules": None, "output": "embedding", "added": SAFETENSORS,
    "needs": {
        "token_string": "write the new word, one that the tokenizer does not know, such as token_string: sksdog",
    },
}  # fmt: skip

DIFFERENCES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("sd15", "dreambooth"): {"script": "train_db.py", **DREAMBOOTH},
    ("sd15", "finetune"): {"script": "fine_tune.py", "data": "metadata", "regularization": False, **MODEL},
    ("sd15", "controlnet"): {
        "script": "train_control_net.py", "output": "controlnet", "holds": "zero_convs.", **CONTROL,
    },
    ("sd15", "textual_inversion"): {"script": "train_textual_inversion.py", "holds": "emb_params", **EMBEDDING},
    ("sd2", "dreambooth"): {"script": "train_db.py", **DREAMBOOTH, "added": V2},
    ("sd2", "finetune"): {"script": "fine_tune.py", "data": "metadata", "regularization": False, **MODEL, "added": V2},
    ("sd2", "controlnet"): {
        "script": "train_control_net.py", "output": "controlnet", "holds": "zero_convs.", **CONTROL, "added": V2,
    },
    ("sd2", "textual_inversion"): {
        "script": "train_textual_inversion.py", "holds": "emb_params", **EMBEDDING, "added": V2,
    },
    ("sdxl", "finetune"): {"script": "sdxl_train.py", **MODEL},
    ("sdxl", "dreambooth"): {"script": "sdxl_train.py", **DREAMBOOTH},
    ("sdxl", "controlnet"): {
        "script": "sdxl_train_control_net.py", "output": "controlnet", "holds": "controlnet_down_blocks.", **CONTROL,
    },
    ("sdxl", "lllite"): {
        "script": "sdxl_train_control_net_lllite.py", "output": "lllite", "holds": "lllite_unet_", **CONTROL,
        "needs": {
            "cond_emb_dim": "write cond_emb_dim: 32, the size of the condition's embedding",
            "network_dim": "write network_dim: 64, the rank of each module",
        },
    },
    ("sdxl", "textual_inversion"): {"script": "sdxl_train_textual_inversion.py", "holds": "clip_g", **EMBEDDING},
    ("flux", "finetune"): {"script": "flux_train.py", "bucket_step": 16, **MODEL, "holds": "double_blocks."},
    ("flux", "dreambooth"): {"script": "flux_train.py", "bucket_step": 16, **DREAMBOOTH, "holds": "double_blocks."},
    ("flux", "controlnet"): {
        "script": "flux_train_control_net.py", "bucket_step": 16, "output": "controlnet",
        "holds": "controlnet_blocks.", **CONTROL,
    },
    ("sd3", "finetune"): {"script": "sd3_train.py", "bucket_step": 8, **MODEL},
    ("sd3", "dreambooth"): {"script": "sd3_train.py", "bucket_step": 8, **DREAMBOOTH},
    ("lumina", "finetune"): {"script": "lumina_train.py", "bucket_step": 16, **MODEL, "holds": "layers."},
    ("lumina", "dreambooth"): {"script": "lumina_train.py", "bucket_step": 16, **DREAMBOOTH, "holds": "layers."},
    ("anima", "finetune"): {"script": "anima_train.py", **MODEL, "holds": "net.blocks.", "added": TORCH},
    ("anima", "dreambooth"): {"script": "anima_train.py", **DREAMBOOTH, "holds": "net.blocks.", "added": TORCH},
}  # fmt: skip
"""By family and method: the fields of the row that are not those of the family's LoRA."""

NO_CONTROL = "sd-scripts trains ControlNets for SD 1.5, 2, SDXL and FLUX.1 only"
NO_LLLITE = "sd-scripts trains ControlNet-LLLite for SDXL only"
NO_EMBEDDING = "sd-scripts trains embeddings for SD 1.5, 2 and SDXL only"
NO_HUNYUAN = "sd-scripts trains LoRAs for HunyuanImage only: it has no script for the whole model"
NO_MUSUBI = "musubi-tuner has no script for FLUX.1 Kontext and FLUX.2 but those that train a LoRA"
OF_MUSUBI = ("flux_kontext", "flux2")
WITHOUT_PAIRS = ("sd3", "lumina", "hunyuan_image", "anima")

ABSENT: Mapping[tuple[str, str], str] = {
    ("hunyuan_image", "finetune"): NO_HUNYUAN,
    ("hunyuan_image", "dreambooth"): NO_HUNYUAN,
    **{(family, "controlnet"): NO_CONTROL for family in WITHOUT_PAIRS},
    **{(family, "lllite"): NO_LLLITE for family in ("sd15", "sd2", "flux", *WITHOUT_PAIRS)},
    **{(family, "textual_inversion"): NO_EMBEDDING for family in ("flux", *WITHOUT_PAIRS)},
    **{
        (family, method): NO_MUSUBI
        for family in OF_MUSUBI
        for method in ("finetune", "dreambooth", "controlnet", "lllite", "textual_inversion")
    },
}
"""Pairs that the pinned trainers have no script for, with the reason."""


def rows(lora: Iterable[Support]) -> tuple[Support, ...]:
    """The rows of the other methods for the families of these LoRA rows, in the order of the families."""
    return tuple(
        replace(row, method=method, recipe=f"recipes/{family}_{method}.yaml", **fields)
        for row in lora
        for (family, method), fields in DIFFERENCES.items()
        if family == row.family
    )
