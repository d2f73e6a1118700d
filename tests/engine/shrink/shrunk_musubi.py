"""The dimensions of musubi-tuner's FLUX.1 Kontext and FLUX.2, shrunk as sitecustomize.py shrinks those of sd-scripts.

Only few blocks are left, unless ``KOHYA_SHRUNK_BLOCKS=all`` asks for as many as the real models have. Its generators
cannot be imported without a GPU (wan/modules/t5.py:457 asks for one in a default argument): they are given an answer.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shrunk_steps import slower_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

DROPOUT = bool(os.environ.get("KOHYA_SHRUNK_DROPOUT"))
"""The scripts leave T5 in training mode: each reading of a caption is another one. Not here, unless it is asked for."""
ALL = os.environ.get("KOHYA_SHRUNK_BLOCKS") == "all"
GROUPS = 32
CLIP = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "projection_dim": 32}
T5 = {"d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": 512}  # as wide as T5-XXL, which is checked
QWEN3 = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
         "num_hidden_layers": 28, "vocab_size": 512}  # fmt: skip
"""Its 9th, 18th and 27th layers are what FLUX.2 reads (flux_2/flux2_utils.py:50)."""
MISTRAL = QWEN3 | {"num_hidden_layers": 31}
PIXTRAL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 16, "num_hidden_layers": 1}
WIDE = {"hidden_size": 64, "num_heads": 2}


def _blocks(double: int, single: int) -> dict[str, int]:
    return {} if ALL else {"depth": double, "depth_single_blocks": single}


def _flux_models(module: ModuleType) -> None:
    """flux/flux_models.py:381; latents of 16 channels, packed to 64, stay."""
    spec = module.configs_flux_dev_context
    params = replace(
        spec.params, vec_in_dim=CLIP["hidden_size"], axes_dim=[8, 12, 12], **WIDE,
        **_blocks(2, 3),
    )  # fmt: skip
    module.configs_flux_dev_context = replace(  # type: ignore[attr-defined]
        spec, params=params, ae_params=replace(spec.ae_params, ch=GROUPS)
    )


def _flux_utils(module: ModuleType) -> None:
    """flux/flux_utils.py:201 and :323."""
    _with(module, "CLIPConfig", CLIP)
    _with(module, "T5Config", T5 if DROPOUT else T5 | {"dropout_rate": 0.0})


def _flux2_models(module: ModuleType) -> None:
    """flux_2/flux2_models.py:59; latents of 128 channels stay."""
    real = module.AutoEncoderParams
    module.AutoEncoderParams = lambda: real(ch=GROUPS)  # type: ignore[attr-defined]


def _flux2_utils(module: ModuleType) -> None:
    """flux_2/flux2_utils.py:67: every variant keeps what tells it from the others."""
    for name, info in module.FLUX2_MODEL_INFO.items():
        params = replace(
            info.params, context_in_dim=3 * QWEN3["hidden_size"], axes_dim=[8, 8, 8, 8], **WIDE, **_blocks(2, 3)
        )
        module.FLUX2_MODEL_INFO[name] = replace(info, params=params)
    real = module.Mistral3Config

    def config(**given: Any) -> Any:
        parts = {"text_config": given["text_config"] | MISTRAL, "vision_config": given["vision_config"] | PIXTRAL}
        return real(**given | parts)

    module.Mistral3Config = config  # type: ignore[attr-defined]


def _zimage_utils(module: ModuleType) -> None:
    """zimage/zimage_utils.py:37 and :69, where FLUX.2 has its Qwen3 from."""
    _with(module, "Qwen3Config", QWEN3)


def _t5_of_wan(_: ModuleType) -> None:
    """Before it is executed: wan/modules/t5.py:457."""
    import torch

    if not torch.cuda.is_available():
        torch.cuda.current_device = lambda: 0  # type: ignore[assignment]


def _with(module: ModuleType, name: str, shape: dict[str, Any]) -> None:
    """Let a configuration be made with other numbers than those it is made with."""
    real = getattr(module, name)
    setattr(module, name, lambda **given: real(**given | shape))


SHRINK: dict[str, Callable[[ModuleType], None]] = {
    "musubi_tuner.flux.flux_models": _flux_models,
    "musubi_tuner.flux.flux_utils": _flux_utils,
    "musubi_tuner.flux_2.flux2_models": _flux2_models,
    "musubi_tuner.flux_2.flux2_utils": _flux2_utils,
    "musubi_tuner.utils.train_utils": slower_steps,
    "musubi_tuner.zimage.zimage_utils": _zimage_utils,
}
BEFORE: dict[str, Callable[[ModuleType], None]] = {"musubi_tuner.wan.modules.t5": _t5_of_wan}
"""Changes that have to be there while a module is executed."""
