"""The dimensions of musubi-tuner's models, shrunk as sitecustomize.py shrinks those of sd-scripts.

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
FEW = 3
"""Blocks of the transformers that have one sort of them."""
SIGNS = {"vision_start_token_id": 259, "vision_end_token_id": 260, "image_token_id": 261, "video_token_id": 262}
"""Of the small tokenizer (tiny_musubi.py)."""
VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}


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


def _zimage_config(module: ModuleType) -> None:
    """zimage/zimage_config.py:64: two heads of 32."""
    shape = {"DEFAULT_TRANSFORMER_DIM": 64, "DEFAULT_TRANSFORMER_N_HEADS": 2, "DEFAULT_TRANSFORMER_N_KV_HEADS": 2,
             "DEFAULT_TRANSFORMER_CAP_FEAT_DIM": QWEN3["hidden_size"], "ROPE_AXES_DIMS": [8, 12, 12],
             **({} if ALL else {"DEFAULT_TRANSFORMER_N_LAYERS": FEW})}  # fmt: skip
    for name, value in shape.items():
        setattr(module, name, value)


def _zimage_autoencoder(module: ModuleType) -> None:
    """zimage/zimage_autoencoder.py:405."""
    _with(module, "AutoencoderKL", {"block_out_channels": (GROUPS,) * 4})


def _krea2_utils(module: ModuleType) -> None:
    """krea2/krea2_utils.py:38: the configuration itself, which is the default of its loaders."""
    shape = {"features": 64, "tdim": 32, "txtdim": 32, "heads": 4, "kvheads": 1, "txtheads": 2, "txtkvheads": 2,
             **({} if ALL else {"layers": FEW})}  # fmt: skip
    for name, value in shape.items():
        setattr(module.single_mmdit_large_wide, name, value)


def _krea2_encoder(module: ModuleType) -> None:
    """krea2/krea2_encoder.py:40; all 36 layers stay, twelve of which are read."""
    config = module.QWEN3_VL_4B_INSTRUCT_CONFIG
    config["text_config"].update(QWEN3 | {"num_hidden_layers": 36})
    config["text_config"]["rope_scaling"]["mrope_section"] = [4, 2, 2]
    config["vision_config"].update(VISION | {"deepstack_visual_indexes": [1], "num_position_embeddings": 16})


def _qwen_model(module: ModuleType) -> None:
    """qwen_image/qwen_image_model.py:1411: two heads of 32."""
    real = module.QwenImageTransformer2DModel

    def model(**given: Any) -> Any:
        shape = {"attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 32,
                 "axes_dims_rope": (8, 12, 12)}  # fmt: skip
        return real(**given | shape | {"num_layers": given["num_layers"] if ALL else min(given["num_layers"], FEW)})

    module.QwenImageTransformer2DModel = model  # type: ignore[attr-defined]


def _qwen_utils(module: ModuleType) -> None:
    """qwen_image/qwen_image_utils.py:64 and :783: Qwen2.5-VL, and the autoencoder that Krea 2 has, too."""
    real = module.Qwen2_5_VLConfig
    text = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
            "num_hidden_layers": 2, "vocab_size": 512}  # fmt: skip
    rope = {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"}

    def config(**given: Any) -> Any:
        whole = text | {"rope_scaling": rope}
        parts = {
            "text_config": given["text_config"] | whole | {"layer_types": ["full_attention"] * 2},
            "vision_config": given["vision_config"] | VISION | {"fullatt_block_indexes": [1]},
        }
        return real(**given | whole | SIGNS | parts)

    module.Qwen2_5_VLConfig = config  # type: ignore[attr-defined]
    _with(module, "AutoencoderKLQwenImage", {"base_dim": 8})


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
    "musubi_tuner.krea2.krea2_encoder": _krea2_encoder,
    "musubi_tuner.krea2.krea2_utils": _krea2_utils,
    "musubi_tuner.qwen_image.qwen_image_model": _qwen_model,
    "musubi_tuner.qwen_image.qwen_image_utils": _qwen_utils,
    "musubi_tuner.zimage.zimage_autoencoder": _zimage_autoencoder,
    "musubi_tuner.zimage.zimage_config": _zimage_config,
    "musubi_tuner.zimage.zimage_utils": _zimage_utils,
}
BEFORE: dict[str, Callable[[ModuleType], None]] = {"musubi_tuner.wan.modules.t5": _t5_of_wan}
"""Changes that have to be there while a module is executed."""
