"""An estimate of the host memory a LoRA training takes: everything is loaded there before it goes to the GPU.

Pages of a file that is only mapped are left out: the system takes them back where memory is short. A tool that shows
the resident set counts them: SD 1.5 on a CPU shows 7.7 GB, 2.1 of which are its file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kohya_runner.machine.architectures import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = 2 * 10**9
"""Python, torch, its CUDA libraries, the trainer; about half of it without a GPU."""
FLOAT32 = 4
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
LOADED_LATE = frozenset({"hunyuan_image"})
"""The base model comes when the text encoders are gone (hunyuan_image_train_network.py:387)."""


@dataclass(frozen=True, slots=True)
class RamSettings:
    """The options that decide. ``dtypes`` are those of the files, by slot, where they are known.

    ``cached`` are bytes of latents and text encoder outputs that are kept in memory rather than on the disk,
    ``training`` those of LoRA, optimizer and activations: without a GPU they are here as well.
    """

    family: str
    precision: str = "no"
    full_half: bool = False
    fp8: bool = False
    fp8_text: bool = False
    on_gpu: bool = True
    low_ram: bool = False
    cached: int = 0
    training: int = 0
    dtypes: Mapping[str, str] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Bytes of one weight in the precision of the training (library/train_util.py:5507)."""
        return 2 if self.precision in {"fp16", "bf16"} else FLOAT32


@dataclass(frozen=True, slots=True)
class RamEstimate:
    """Bytes by part at the fullest moment. ``certain`` is what cannot be less: copies the trainer makes of weights."""

    parts: Mapping[str, int]
    certain: int

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.parts.values())


def estimate(settings: RamSettings) -> RamEstimate | None:
    """The moment when the models are loaded; None for a family whose numbers are not known."""
    shape = ARCHITECTURES.get(settings.family)
    if shape is None:
        return None
    loaded = _unet_models(settings, shape) if shape.kind == "unet" else _transformer_models(settings, shape)
    training = 0 if settings.on_gpu else settings.training
    rest = {"cached latents and texts": settings.cached, "training": training, "programs": _runtime(settings)}
    parts = {**loaded, **rest}
    certain = sum(loaded.values()) if shape.kind == "unet" else 0
    return RamEstimate({name: size for name, size in parts.items() if size}, certain)


def _runtime(settings: RamSettings) -> int:
    return RUNTIME if settings.on_gpu else RUNTIME // 2


STRAIGHT_TO_GPU = LOADED_HALF = ("sdxl",)


def _unet_models(settings: RamSettings, shape: Architecture) -> dict[str, int]:
    """In float32 whatever the file holds (library/model_util.py:1009, library/sdxl_model_util.py:207).

    With full_fp16 and full_bf16 SDXL loads U-Net and autoencoder in half; SD 1.5 and 2 do not.
    """
    if settings.low_ram and settings.on_gpu and settings.family in STRAIGHT_TO_GPU:
        return {}  # straight to the GPU (library/sdxl_train_util.py:47)
    half = settings.full_half and settings.family in LOADED_HALF
    width = 2 if half else FLOAT32
    return {
        "base model": shape.denoiser * width,
        "text encoders": shape.text_parameters * FLOAT32,
        "autoencoder": shape.autoencoder * width,
    }


def _transformer_models(settings: RamSettings, shape: Architecture) -> dict[str, int]:
    """Files are mapped; what has another type than the training's is copied (library/safetensors_utils.py:315)."""
    base = shape.denoiser * (1 if settings.fp8 else settings.weight)
    text = sum(count * _text_width(settings, name) for name, count in shape.text)
    rest = {"autoencoder": shape.autoencoder * settings.weight}
    if settings.family in LOADED_LATE:
        return {"base model" if base > text else "text encoders": max(base, text), **rest}
    return {"base model": base, "text encoders": text, **rest}


def _text_width(settings: RamSettings, name: str) -> int:
    """With fp8_base T5 stays as its file has it (flux_train_network.py:142)."""
    as_it_is = WIDTHS.get(settings.dtypes.get(name, ""), 2)
    return as_it_is if settings.fp8_text and name == "t5xxl" else settings.weight
