"""How big the files of a run become: checkpoints, states, caches, downloads. Bytes, from dimensions alone.

Counts of parameters and modules are those of the pinned trainer's own networks, instantiated without weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from kohya_runner.machine.architectures import ARCHITECTURES, Architecture

Precision = Literal["float", "fp16", "bf16"]
WIDTH: dict[str, int] = {"float": 4, "fp16": 2, "bf16": 2}
"""Bytes per parameter by ``--save_precision``; unset means float (library/accelerator_setup.py:164-170)."""
HEADER_PER_TENSOR = 142
"""Bytes of safetensors header per tensor: measured 139 to 144 over SD1.5 and SDXL files of several ranks."""
TENSORS_PER_MODULE = 3
"""lora_down, lora_up, alpha (networks/lora.py:59-90)."""
ADAMW_MOMENTS = 8
"""Bytes of optimizer state for each parameter, of AdamW; of others see ``vram.MOMENTS``."""


@dataclass(frozen=True, slots=True)
class LoraModules:
    """The LoRA modules of one part of a model, and their parameters per unit of rank."""

    count: int
    per_rank: int


@dataclass(frozen=True, slots=True)
class Network:
    """The parts of a family that a LoRA trains; ``conv`` is what ``conv_dim`` adds."""

    text_encoder: LoraModules
    unet: LoraModules
    conv: LoraModules = LoraModules(0, 0)


_NONE = LoraModules(0, 0)
_CLIP_L = LoraModules(72, 165_888)
_CLIP_L_AND_G = LoraModules(264, 903_168)

NETWORKS: dict[str, Network] = {
    "sd15": Network(_CLIP_L, LoraModules(192, 423_936), LoraModules(86, 626_880)),
    "sd2": Network(LoraModules(138, 423_936), LoraModules(192, 432_128), LoraModules(86, 626_880)),
    "sdxl": Network(_CLIP_L_AND_G, LoraModules(722, 2_659_840), LoraModules(66, 414_400)),
    "sd3": Network(_CLIP_L_AND_G, LoraModules(377, 4_212_224)),  # 3.5-large; medium is less
    "flux": Network(_CLIP_L, LoraModules(304, 4_786_176)),
    "lumina": Network(LoraModules(182, 1_297_920), LoraModules(180, 1_651_776)),
    "hunyuan_image": Network(_NONE, LoraModules(320, 5_877_760)),
    "anima": Network(LoraModules(196, 630_784), LoraModules(280, 1_433_600)),
    # musubi-tuner leaves the modulation out (networks/lora_flux.py:32)
    "flux_kontext": Network(_NONE, LoraModules(228, 3_502_080)),
    "flux2": Network(_NONE, LoraModules(160, 6_094_848)),  # dev
    "flux2_klein_4b": Network(_NONE, LoraModules(80, 1_443_840)),
    "flux2_klein_9b": Network(_NONE, LoraModules(112, 2_588_672)),
}


@dataclass(frozen=True, slots=True)
class LoraShape:
    """What decides the size of a LoRA file. ``dim`` is network_dim, 4 where a recipe leaves it open."""

    family: str
    dim: int = 4
    conv_dim: int | None = None
    precision: Precision = "float"
    unet: bool = True
    text_encoder: bool = True


def lora_bytes(shape: LoraShape) -> int | None:
    """One checkpoint in bytes, within 1 % of the real file without metadata; None for an unknown family."""
    network = NETWORKS.get(shape.family)
    if network is None:
        return None
    parts = [
        (network.text_encoder, shape.dim if shape.text_encoder else 0),
        (network.unet, shape.dim if shape.unet else 0),
        (network.conv, (shape.conv_dim or 0) if shape.unet else 0),
    ]
    modules = sum(part.count for part, rank in parts if rank)
    parameters = sum(part.per_rank * rank for part, rank in parts) + modules  # one alpha each
    return parameters * WIDTH[shape.precision] + modules * TENSORS_PER_MODULE * HEADER_PER_TENSOR


def state_bytes(shape: LoraShape, moments: int = ADAMW_MOMENTS) -> int | None:
    """One training state (``save_state``) in bytes: always fp32, whatever the checkpoints are.

    The network and the optimizer's state (train_network.py:876, accelerate's save_state), ``moments`` a parameter.
    """
    whole = lora_bytes(replace(shape, precision="float"))
    return None if whole is None else whole + whole * moments // WIDTH["float"]


@dataclass(frozen=True, slots=True)
class Latents:
    """What a family's autoencoder makes of an image: channels, and pixels per latent along a side."""

    channels: int
    stride: int = 8


LATENTS: dict[str, Latents] = {
    "sd15": Latents(4),
    "sd2": Latents(4),
    "sdxl": Latents(4),
    "sd3": Latents(16),
    "flux": Latents(16),
    "lumina": Latents(16),
    "hunyuan_image": Latents(64, 32),
    "anima": Latents(16),
    "flux_kontext": Latents(16),
    "flux2": Latents(128, 16),
    "flux2_klein_4b": Latents(128, 16),
    "flux2_klein_9b": Latents(128, 16),
}
NPZ_OVERHEAD = 824
"""Bytes of an npz beside its arrays: a 640x384 image makes a file of 62,264."""
LATENT_WIDTH = 4  # float32, whatever the training precision (library/strategy_base.py:640)


def latent_bytes(family: str, width: int, height: int, *, flip: bool = False, alpha_mask: bool = False) -> int | None:
    """The latent cache of one image of a bucket of ``width`` x ``height`` pixels; None for an unknown family."""
    row = LATENTS.get(family)
    if row is None:
        return None
    array = row.channels * (height // row.stride) * (width // row.stride) * LATENT_WIDTH
    mask = width * height * LATENT_WIDTH if alpha_mask else 0
    return array * (2 if flip else 1) + mask + NPZ_OVERHEAD


TEXT_FP32: dict[str, int] = {
    "sdxl": 636_000,  # 77 tokens; bf16 runs store float32 too
    "sd3": 4_800_000,  # 256 tokens of T5, 77 of CLIP-L and CLIP-G
    "flux": 8_400_000,  # 512 tokens of T5; schnell's 256 take half
    "lumina": 2_400_000,  # 256 tokens
    "hunyuan_image": 2_300_000,  # a caption of 128 tokens; more where it is longer, 15 MB at most
    "anima": 2_100_000,  # 512 tokens
}
STAGED_TEXT: dict[str, int] = {
    "flux_kontext": 512 * 4096 * 2, "flux2": 512 * 15_360 * 2, "flux2_klein_4b": 512 * 7680 * 2,
    "flux2_klein_9b": 512 * 12_288 * 2,
}  # fmt: skip
"""A caption in musubi-tuner's cache: 512 tokens of the width that the model reads, in bf16."""
HALVED_BY_FP16 = frozenset({"sdxl", "flux"})
CLIP_CHUNK = 75
TEXT_LENGTHS: dict[str, tuple[str, int]] = {
    "flux": ("t5xxl_max_token_length", 512),
    "sd3": ("t5xxl_max_token_length", 256),
    "lumina": ("gemma2_max_token_length", 256),
    "anima": ("qwen3_max_token_length", 512),
}
"""The option that pads every caption to its length, and the length of ``TEXT_FP32``."""
FIXED = {"sd3": 630_000}
"""Bytes of the text encoders that the option does not lengthen."""


def text_tokens(family: str, option: Callable[[str], object]) -> int:
    """Tokens that a caption's cache holds: as the options say, else as the trainer takes."""
    name, usual = TEXT_LENGTHS.get(family, ("max_token_length", CLIP_CHUNK))
    value = option(name)
    return value if isinstance(value, int) and value > 0 else usual


def text_bytes(family: str, *, max_tokens: int = CLIP_CHUNK, fp16: bool = False) -> int | None:
    """The text encoder cache of one image; None where the family has none or its size is not known."""
    size = TEXT_FP32.get(family)
    if size is None:
        return None
    if family in TEXT_LENGTHS:
        fixed, usual = FIXED.get(family, 0), TEXT_LENGTHS[family][1]
        size = fixed + (size - fixed) * max_tokens // usual if max_tokens > CLIP_CHUNK else size
    else:
        size *= max(1, -(-max_tokens // CLIP_CHUNK))
    return size // 2 if fp16 and family in HALVED_BY_FP16 else size


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


def method_state_bytes(shape: MethodShape, moments: int = ADAMW_MOMENTS) -> int | None:
    """One training state: the trained weights in fp32, and ``moments`` bytes a parameter of the optimizer."""
    trained = trained_parameters(shape)
    return None if trained is None else trained * (WIDTH["float"] + moments)
