"""sd-scripts and what it trains: a row for each family's LoRA, and rows of the other methods with what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import engine_info
from kohya_runner.engines.support import Support, support
from kohya_runner.tables import read_table

_TABLE = read_table(Path(__file__).with_name("trainer.toml"))
SD_SCRIPTS = engine_info(_TABLE["trainer"])
LORAS = {family: support(family, row, method="lora") for family, row in _TABLE["loras"].items()}
SD15, SD2, SDXL, SD3, FLUX, LUMINA, HUNYUAN_IMAGE, ANIMA = LORAS.values()

SAFETENSORS: Mapping[str, Any] = {"save_model_as": "safetensors"}
"""The full fine-tunes save in the format of their source, as .ckpt from a .safetensors; textual inversion as .pt
(sdxl_train.py:245, train_db.py:153, train_textual_inversion.py:808)."""
V2: Mapping[str, Any] = {**SAFETENSORS, "v2": True}
TORCH: Mapping[str, Any] = {**SAFETENSORS, "attn_mode": "torch"}
"""anima_train.py takes attn_mode as it is, and without stops at the first step (library/anima_models.py:372)."""
UNET = "model.diffusion_model."
WORD = "write the new word, one that the tokenizer does not know, such as args.token_string: sksdog"
LLLITE = {
    "cond_emb_dim": "write args.cond_emb_dim: 32, the size of the condition's embedding",
    "network_dim": "write args.network_dim: 64, the rank of each module",
}


def _other(lora: Support, method: str, script: str, *, holds: str, **fields: Any) -> Support:
    """The row of another method of the family of a LoRA."""
    added = V2 if lora.added.get("v2") else SAFETENSORS
    return replace(
        lora,
        method=method,
        recipe=f"recipes/{lora.family}_{method}.yaml",
        script=script,
        network_module="",
        modules=None,
        holds=ExpectedTensor(holds),
        **{"added": added, **fields},
    )


def inpaint(lora: Support) -> Support:
    """The LoRA of an inpainting model, whose U-Net reads 9 channels."""
    recipe = f"recipes/{lora.family}_inpaint.yaml"
    return replace(lora, method="inpaint", recipe=recipe, added={"train_inpainting": True}, random_model=False)


def finetune(lora: Support, script: str, **fields: Any) -> Support:
    """The whole model. ``fields`` are what is the script's own, beside the start of its tensors' names."""
    return _other(lora, "finetune", script, **{"output": "model", "holds": UNET, **fields})


def dreambooth(lora: Support, script: str, **fields: Any) -> Support:
    """The whole model from pictures without captions: their concept is the prompt."""
    given = {"output": "model", "holds": UNET, "concept_prompts": True, **fields}
    return _other(lora, "dreambooth", script, **given)


def controlnet(lora: Support, script: str, *, holds: str = "zero_convs.", **fields: Any) -> Support:
    """A ControlNet: pictures with condition images, no class images."""
    pairs = {"output": "controlnet", "data": "pairs", "regularization": False, "holds": holds}
    return _other(lora, "controlnet", script, **{**pairs, **fields})


def textual_inversion(lora: Support, script: str, *, holds: str = "emb_params") -> Support:
    """The embedding of a new word."""
    return _other(lora, "textual_inversion", script, output="embedding", holds=holds, needs={"token_string": WORD})


FAMILIES: tuple[Support, ...] = (
    SD15,
    dreambooth(SD15, "train_db.py"),
    finetune(SD15, "fine_tune.py", data="metadata", regularization=False),
    controlnet(SD15, "train_control_net.py"),
    textual_inversion(SD15, "train_textual_inversion.py"),
    inpaint(SD15),
    SD2,
    dreambooth(SD2, "train_db.py"),
    finetune(SD2, "fine_tune.py", data="metadata", regularization=False),
    controlnet(SD2, "train_control_net.py"),
    textual_inversion(SD2, "train_textual_inversion.py"),
    SDXL,
    finetune(SDXL, "sdxl_train.py"),
    dreambooth(SDXL, "sdxl_train.py"),
    controlnet(SDXL, "sdxl_train_control_net.py", holds="controlnet_down_blocks."),
    _other(
        SDXL, "lllite", "sdxl_train_control_net_lllite.py", output="lllite", data="pairs", regularization=False,
        holds="lllite_unet_", needs=LLLITE,
    ),
    textual_inversion(SDXL, "sdxl_train_textual_inversion.py", holds="clip_g"),
    inpaint(SDXL),
    SD3,
    finetune(SD3, "sd3_train.py", bucket_step=8),
    dreambooth(SD3, "sd3_train.py", bucket_step=8),
    FLUX,
    finetune(FLUX, "flux_train.py", bucket_step=16, holds="double_blocks."),
    dreambooth(FLUX, "flux_train.py", bucket_step=16, holds="double_blocks."),
    controlnet(FLUX, "flux_train_control_net.py", bucket_step=16, holds="controlnet_blocks."),
    LUMINA,
    finetune(LUMINA, "lumina_train.py", bucket_step=16, holds="layers."),
    dreambooth(LUMINA, "lumina_train.py", bucket_step=16, holds="layers."),
    HUNYUAN_IMAGE,
    ANIMA,
    finetune(ANIMA, "anima_train.py", holds="net.blocks.", added=TORCH),
    dreambooth(ANIMA, "anima_train.py", holds="net.blocks.", added=TORCH),
)  # fmt: skip
"""Every family with every method that the pinned scripts train it with; LoRA first."""

NO_CONTROL = "sd-scripts trains ControlNets for SD 1.5, 2, SDXL and FLUX.1 only"
NO_LLLITE = "sd-scripts trains ControlNet-LLLite for SDXL and Anima only"
NO_EMBEDDING = "sd-scripts trains embeddings for SD 1.5, 2 and SDXL only"
NO_HUNYUAN = "sd-scripts trains LoRAs for HunyuanImage only: it has no script for the whole model"
WITHOUT_PAIRS = ("sd3", "lumina", "hunyuan_image", "anima")

ABSENT: Mapping[tuple[str, str], str] = {
    ("hunyuan_image", "finetune"): NO_HUNYUAN,
    ("hunyuan_image", "dreambooth"): NO_HUNYUAN,
    **{(family, "controlnet"): NO_CONTROL for family in WITHOUT_PAIRS},
    **{(family, "lllite"): NO_LLLITE for family in ("sd15", "sd2", "flux", *WITHOUT_PAIRS[:3])},
    ("anima", "lllite"): "this version does not launch anima_train_control_net_lllite.py yet",
    **{(family, "textual_inversion"): NO_EMBEDDING for family in ("flux", *WITHOUT_PAIRS)},
}
"""Pairs that the pinned commit has no script for, with the reason."""

BROKEN: Mapping[str, str] = {
    "sdxl_train_control_net.py": "its own load_state_dict returns nothing, so no state can be loaded "
    "(library/sdxl_original_control_net.py:89)"
}
"""Scripts that write states and cannot read them, and why."""
