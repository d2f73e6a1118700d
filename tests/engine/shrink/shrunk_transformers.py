"""The dimensions of SD3, Lumina, HunyuanImage and Anima, shrunk as sitecustomize.py shrinks the others.

The numbers of blocks and of text encoder layers that a LoRA attaches to stay, so it has as many modules as on the real
model. SD3 is the exception: its width is 64 times its number of blocks (library/sd3_utils.py:35), so it has few.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

GROUPS = 32
SD3_BLOCKS = 4  # of 24 or 38
GEMMA2 = {"hidden_size": 48, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
          "head_dim": 24, "query_pre_attn_scalar": 24, "vocab_size": 512}  # fmt: skip
LUMINA = {"dim": 48, "n_heads": 2, "n_kv_heads": 1, "axes_dims": [8, 8, 8], "cap_feat_dim": 48, "multiple_of": 32}
QWEN3 = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
ANIMA = {"model_channels": 32, "num_heads": 2, "crossattn_emb_channels": 32, "adaln_lora_dim": 8, "max_img_h": 64,
         "max_img_w": 64, "max_frames": 2}  # fmt: skip
ADAPTER = {"source_dim": 32, "target_dim": 32, "model_dim": 32, "num_heads": 2}
HUNYUAN_WIDTH, HUNYUAN_HEADS, HUNYUAN_HIDDEN = 32, 2, 3584
BYT5 = {"d_ff": 64, "d_kv": 8, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 1}  # as wide as the real one
VLM = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
       "num_hidden_layers": 4, "vocab_size": 512, "rope_scaling": {"type": "default", "rope_type": "default",
                                                                   "mrope_section": [2, 3, 3]}}  # fmt: skip
VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
          "fullatt_block_indexes": [0]}  # fmt: skip


def changed(module: ModuleType, name: str, **shape: Any) -> None:
    """Let a class or function of a module be called with other numbers than those it is called with."""
    real = getattr(module, name)
    setattr(module, name, lambda *args, **given: real(*args, **given | shape))


def _subclass(module: ModuleType, name: str, changes: Callable[[Any], Any]) -> None:
    """Let a class be made with other numbers, and keep its name: LoRA networks find modules by it."""
    real = getattr(module, name)

    def init(self: Any, *args: Any, **given: Any) -> None:
        real.__init__(self, *map(changes, args), **{key: changes(value) for key, value in given.items()})

    setattr(module, name, type(name, (real,), {"__init__": init}))


def _narrow(value: Any) -> Any:
    return (
        {HUNYUAN_HIDDEN: HUNYUAN_WIDTH, 28: HUNYUAN_HEADS, 2048: 64}.get(value, value) if type(value) is int else value
    )


def _quarter(value: Any) -> Any:
    """The widths of the blocks are the one argument that is a sequence."""
    return [width // 4 for width in value] if isinstance(value, list | tuple) else value


def _chroma_models(module: ModuleType) -> None:
    """library/chroma_models.py:485; its blocks stay, for the length of the modulation counts them (:546)."""
    module.chroma_params = replace(  # type: ignore[attr-defined]
        module.chroma_params, hidden_size=32, num_heads=2, axes_dim=[4, 6, 6], approximator_hidden_size=32
    )


def _sd3_models(module: ModuleType) -> None:
    """library/sd3_models.py:1274 and :1330."""
    for name in ("VAEEncoder", "VAEDecoder"):
        setattr(module, name, partial(getattr(module, name), ch=GROUPS))


def _lumina_models(module: ModuleType) -> None:
    """library/lumina_models.py:133."""
    real = module.NextDiT
    module.NextDiT = type("NextDiT", (real,), {"__init__": lambda self, **given: real.__init__(self, **given | LUMINA)})  # type: ignore[attr-defined]


def _lumina_util(module: ModuleType) -> None:
    """library/lumina_util.py:125."""
    changed(module, "Gemma2Config", **GEMMA2)


def _anima_models(module: ModuleType) -> None:
    """library/anima_utils.py:67 and library/anima_models.py:1119."""
    real, adapter = module.Anima, module.LLMAdapter
    members = {"__init__": lambda self, **given: real.__init__(self, **given | ANIMA)}
    module.Anima = type("Anima", (real,), members)  # type: ignore[attr-defined]
    module.LLMAdapter = lambda **given: adapter(**given | ADAPTER)  # type: ignore[attr-defined]


def _qwen3(module: ModuleType) -> None:
    """configs/qwen3_06b/config.json; library/anima_utils.py:218 takes the class from transformers itself."""
    real = module.Qwen3Config.__init__
    module.Qwen3Config.__init__ = lambda self, **given: real(self, **given | QWEN3)  # type: ignore[attr-defined]


def _qwen_autoencoder(module: ModuleType) -> None:
    """library/qwen_image_autoencoder_kl.py:1556."""
    changed(module, "AutoencoderKLQwenImage", base_dim=8)


def _hunyuan_models(module: ModuleType) -> None:
    """library/hunyuan_image_models.py:63-79: the numbers stand inside the constructor, as arguments of the parts."""
    real = module.HYImageDiffusionTransformer

    for name in (
        "ByT5Mapper", "PatchEmbed2D", "SingleTokenRefiner", "TimestepEmbedder", "MMDoubleStreamBlock",
        "MMSingleStreamBlock", "FinalLayer",
    ):  # fmt: skip
        _subclass(module, name, _narrow)

    def whole(self: Any, *args: Any, **given: Any) -> None:
        real.__init__(self, *args, **given)
        self.hidden_size, self.heads_num, self.rope_dim_list = HUNYUAN_WIDTH, HUNYUAN_HEADS, [8, 8]

    module.HYImageDiffusionTransformer = type("HYImageDiffusionTransformer", (real,), {"__init__": whole})  # type: ignore[attr-defined]


def _hunyuan_autoencoder(module: ModuleType) -> None:
    """library/hunyuan_image_vae.py:500."""
    for name in ("Encoder", "Decoder"):
        _subclass(module, name, _quarter)


def _hunyuan_text(module: ModuleType) -> None:
    """library/hunyuan_image_text_encoder.py:177 and :244."""
    changed(module, "T5Config", **BYT5)
    real = module.Qwen2_5_VLConfig

    def config(**given: Any) -> Any:
        text = given["text_config"] | VLM | {"layer_types": ["full_attention"] * VLM["num_hidden_layers"]}
        parts = {"text_config": text, "vision_config": given["vision_config"] | VISION}
        return real(**json.loads(json.dumps(given | VLM | parts)))

    module.Qwen2_5_VLConfig = config  # type: ignore[attr-defined]


SHRINK: dict[str, Callable[[ModuleType], None]] = {
    "library.anima_models": _anima_models,
    "library.chroma_models": _chroma_models,
    "library.hunyuan_image_models": _hunyuan_models,
    "library.hunyuan_image_text_encoder": _hunyuan_text,
    "library.hunyuan_image_vae": _hunyuan_autoencoder,
    "library.lumina_models": _lumina_models,
    "library.lumina_util": _lumina_util,
    "library.qwen_image_autoencoder_kl": _qwen_autoencoder,
    "library.sd3_models": _sd3_models,
    "transformers.models.qwen3.configuration_qwen3": _qwen3,
}
