"""How many parameters the methods beside LoRA train and save, and the bytes of their files.

Counts are those of the pinned trainer's own modules, built without weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.machine.memory.architectures import ARCHITECTURES
from kohya_runner.machine.memory.sizes import ADAMW_MOMENTS, WIDTH

if TYPE_CHECKING:
    from kohya_runner.machine.memory.architectures import Architecture

CONTROLNETS = {"sd15": 361_279_120, "sd2": 364_230_800, "sdxl": 1_251_014_160, "flux": 743_807_280}
EMBEDDINGS = {"sd15": 768, "sd2": 1024, "sdxl": 768 + 1280}
"""Numbers in one vector, of all text encoders together."""
SAVED_BESIDE: dict[str, tuple[str, ...]] = {"flux": (), "lumina": (), "anima": (), "sd3": ("autoencoder",)}
"""What is in the file beside the denoiser, where it is not both the text encoders and the autoencoder."""
TRAINED_TEXT = {"sd3": ("clip_l", "clip_g")}
"""The text encoders that train_text_encoder trains, where not all; T5 takes train_t5xxl, too."""
HEADER = 300_000  # bytes of a whole model's safetensors header, about
LLLITE_MODULES, LLLITE_INPUTS = 136, 163_840
"""Modules of ControlNet-LLLite and the sum of their input widths (networks/control_net_lllite_for_train.py:47)."""


@dataclass(frozen=True, slots=True)
class MethodShape:
    """What decides the size. ``width``: bytes of a saved number. ``text``: the text encoders are trained as well."""

    family: str
    output: str
    width: int = WIDTH["float"]
    text: bool = False
    vectors: int = 1
    embedding: int = 0  # cond_emb_dim
    rank: int = 0  # network_dim


def trained_parameters(shape: MethodShape) -> int | None:
    """What the optimizer holds; None for a family that is not known."""
    model = ARCHITECTURES.get(shape.family)
    match shape.output:
        case "model" if model is not None:
            return model.denoiser + (_text_parameters(shape.family, model) if shape.text else 0)
        case "controlnet":
            return CONTROLNETS.get(shape.family)
        case "lllite":
            return lllite_parameters(shape.embedding, shape.rank)
        case "embedding" if shape.family in EMBEDDINGS:
            return shape.vectors * EMBEDDINGS[shape.family]
        case _:
            return None


def lllite_parameters(embedding: int, rank: int) -> int:
    """The linear layers of every module, and the convolutions that read the condition."""
    linear = 2 * LLLITE_INPUTS * rank + LLLITE_INPUTS + LLLITE_MODULES * rank * (rank + embedding + 2)
    return linear + 848 * embedding**2 + 3528 * embedding


def checkpoint_bytes(shape: MethodShape) -> int | None:
    """One checkpoint in bytes."""
    model = ARCHITECTURES.get(shape.family)
    if shape.output != "model":
        trained = trained_parameters(shape)
        return None if trained is None else trained * shape.width
    if model is None:
        return None
    parts = {"text": model.text_parameters, "autoencoder": model.autoencoder}
    beside = sum(parts[part] for part in SAVED_BESIDE.get(shape.family, tuple(parts)))
    return (model.denoiser + beside) * shape.width + HEADER


def _text_parameters(family: str, model: Architecture) -> int:
    trained = TRAINED_TEXT.get(family)
    return sum(count for name, count in model.text if trained is None or name in trained)


def state_bytes(shape: MethodShape, moments: int = ADAMW_MOMENTS) -> int | None:
    """One training state: the trained weights in fp32, and ``moments`` bytes a parameter of the optimizer."""
    trained = trained_parameters(shape)
    return None if trained is None else trained * (WIDTH["float"] + moments)
