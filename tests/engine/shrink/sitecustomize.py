"""Shrinks the hard-coded dimensions of the trainers' models, in any Python that has this folder on PYTHONPATH.

For tests only: whole trainings by the real scripts in seconds. Each module below is changed right after it is
executed; no file of the trainer is touched. Only widths shrink: the numbers of blocks and layers stay, so a LoRA has as
many modules as on the real model. FLUX and its T5 lose blocks too: the 57 of FLUX would take a second a step.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

import shrunk_controls
import shrunk_start
from shrunk_musubi import BEFORE
from shrunk_musubi import SHRINK as MUSUBI
from shrunk_steps import slower_steps
from shrunk_transformers import SHRINK as TRANSFORMERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUPS = 32  # the group norms divide every width by 32 (library/original_unet.py:132)
FLUX_BLOCKS = (2, 3)  # double and single; the trainer counts those of the file (library/flux_utils.py:89)
CLIP_L = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "projection_dim": 32}
CLIP_G = CLIP_L | {"hidden_size": 64, "projection_dim": 64}
T5 = {"d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": 512}  # as wide as T5-XXL, which is checked


def clip_shape(wide: int) -> dict[str, int]:
    """The small stand-in for a text model of this width: 768 is CLIP-L, 1280 is bigG."""
    return CLIP_L if wide == 768 else CLIP_G


def _small_clip(module: ModuleType, name: str) -> None:
    """Make a module's own ``CLIPConfig`` or ``CLIPTextConfig`` give the small shape."""
    real = getattr(module, name)
    setattr(module, name, lambda **shape: real(**shape | clip_shape(shape["hidden_size"])))


def _flux_models(module: ModuleType) -> None:
    """library/flux_models.py:376: 64 wide, 2 heads of 32; latents of 16 channels, packed to 64, stay."""
    for name, spec in module.configs.items():
        params = replace(
            spec.params, vec_in_dim=CLIP_L["hidden_size"], hidden_size=64, num_heads=2, axes_dim=[8, 12, 12],
            depth=FLUX_BLOCKS[0], depth_single_blocks=FLUX_BLOCKS[1],
        )  # fmt: skip
        module.configs[name] = replace(spec, params=params, ae_params=replace(spec.ae_params, ch=GROUPS))


def _flux_utils(module: ModuleType) -> None:
    """library/flux_utils.py:255 and :364: both configurations are literals inside the loading functions."""
    _small_clip(module, "CLIPConfig")
    real = module.T5Config
    module.T5Config = lambda **shape: real(**shape | T5)  # type: ignore[attr-defined]


def _model_util(module: ModuleType) -> None:
    """library/model_util.py:29-46 and :1060."""
    _set(module, UNET_PARAMS_MODEL_CHANNELS=GROUPS, UNET_PARAMS_CONTEXT_DIM=CLIP_L["hidden_size"], VAE_PARAMS_CH=GROUPS)
    _set(module, V2_UNET_PARAMS_CONTEXT_DIM=CLIP_G["hidden_size"], V2_UNET_PARAMS_ATTENTION_HEAD_DIM=[1, 2, 4, 4])
    _small_clip(module, "CLIPTextConfig")


def _original_unet(module: ModuleType) -> None:
    """library/original_unet.py:123-125."""
    widths = tuple(GROUPS * times for times in (1, 2, 4, 4))
    _set(module, BLOCK_OUT_CHANNELS=widths, TIMESTEP_INPUT_DIM=widths[0], TIME_EMBED_DIM=4 * widths[0])


def _sdxl_original_unet(module: ModuleType) -> None:
    """library/sdxl_original_unet.py:42-45; the width of the context is a literal besides (:896 ff.).

    The added embedding is the pooled text and six sizes of 256 numbers each (library/sdxl_train_util.py:223).
    """
    context, added = CLIP_L["hidden_size"] + CLIP_G["hidden_size"], CLIP_G["projection_dim"] + 6 * 256
    _set(module, CONTEXT_DIM=context, ADM_IN_CHANNELS=added, MODEL_CHANNELS=GROUPS, TIME_EMBED_DIM=4 * GROUPS)
    real = module.Transformer2DModel

    class Transformer2DModel(real):  # type: ignore[misc, valid-type]
        """Keeps its name: networks/lora.py finds it by ``__class__.__name__``."""

        def __init__(self, **shape: Any) -> None:
            super().__init__(**shape | {"cross_attention_dim": context})

    _set(module, Transformer2DModel=Transformer2DModel)


def _clip_text(module: ModuleType) -> None:
    """library/sdxl_model_util.py:217 and :243, library/sd3_utils.py:123 and :183."""
    _small_clip(module, "CLIPTextConfig")


def _several_on_a_cpu(module: ModuleType) -> None:
    """accelerator.py:1664: on several GPUs a model without anything to train is left alone, on a CPU it is refused."""
    real = module.Accelerator.prepare_model

    def prepare_model(self: Any, model: Any, *rest: Any, **named: Any) -> Any:
        frozen = not any(parameter.requires_grad for parameter in model.parameters())
        return real(self, model, *rest, **(named | ({"evaluation_mode": True} if frozen else {})))

    module.Accelerator.prepare_model = prepare_model


def _set(module: ModuleType, **values: Any) -> None:
    """Replace what is there; a name that is gone upstream is an error, not a silent full-size model."""
    for name, value in values.items():
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more")
        setattr(module, name, value)


SHRINK: dict[str, Callable[[ModuleType], None]] = (
    {
        "accelerate.accelerator": _several_on_a_cpu,
        "diffusers.models.controlnets.controlnet": shrunk_controls.diffusers_control_net,
        "library.sdxl_original_control_net": shrunk_controls.sdxl_control_net,
        "tools.original_control_net": shrunk_controls.original_control_net,
        "library.flux_models": _flux_models,
        "library.flux_utils": _flux_utils,
        "library.model_util": _model_util,
        "library.original_unet": _original_unet,
        "library.sd3_utils": _clip_text,
        "library.sdxl_model_util": _clip_text,
        "library.sdxl_original_unet": _sdxl_original_unet,
        "library.logging_util": slower_steps,
        "library.train_util": slower_steps,
    }
    | TRANSFORMERS
    | MUSUBI
)


class _ThenShrink(Loader):
    """Runs a module as ever, then shrinks it."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        BEFORE.get(module.__name__, _nothing)(module)
        self.real.exec_module(module)
        SHRINK.get(module.__name__, _nothing)(module)


def _nothing(_: ModuleType) -> None:
    """Most modules are changed at one of the two moments only."""


class _Finder(MetaPathFinder):
    """Finds the modules of the table where they are, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in SHRINK or fullname in BEFORE else None
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenShrink(spec.loader)
        return spec


sys.meta_path[:0] = [_Finder(), shrunk_start.Finder()]
