"""How big the files of a run become: checkpoints, states, caches, downloads. Bytes, from dimensions alone.

Counts of parameters and modules are those of the pinned trainer's own networks, instantiated without weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kohya_runner.machine.architectures import ARCHITECTURES, FAMILIES

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

    unet: LoraModules
    text_encoder: LoraModules = LoraModules(0, 0)
    conv: LoraModules = LoraModules(0, 0)


def _column(key: str) -> Mapping[str, Any]:
    """What ``families.toml`` says under one key, by family."""
    return {family: row[key] for family, row in FAMILIES.items() if key in row}


NETWORKS: dict[str, Network] = {
    family: Network(**{part: LoraModules(*pair) for part, pair in parts.items()})
    for family, parts in _column("lora").items()
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
    kind: str = ""  # lokr or loha: networks.lokr, networks.loha
    factor: int = -1
    tucker: bool = False


SHAPES: Mapping[str, Mapping[str, list[list[int]]]] = _column("shapes")


def _products_bytes(shape: LoraShape) -> int | None:
    """A LoKr or LoHa file, module by module; None where the shapes of a part are not known."""
    rows, wide = SHAPES.get(shape.family, {}), shape.unet and shape.conv_dim
    parts = ["text_encoder"] * shape.text_encoder + ["unet"] * shape.unet + (["conv"] if wide else [])
    if not parts or any(part not in rows for part in parts):
        return None
    numbers = tensors = 0
    for count, inputs, outputs, *kernel in (row for part in parts for row in rows[part]):
        size = kernel[0] if kernel else 1
        rank = (shape.conv_dim or shape.dim) if size > 1 else shape.dim
        one = (_lokr if shape.kind == "lokr" else _loha)(shape, inputs, outputs, size, rank)
        numbers, tensors = numbers + count * (sum(one) + 1), tensors + count * (len(one) + 1)  # an alpha each
    return numbers * WIDTH[shape.precision] + tensors * HEADER_PER_TENSOR


def _lokr(shape: LoraShape, inputs: int, outputs: int, size: int, rank: int) -> list[int]:
    """The numbers of each tensor (networks/lokr.py:131-178)."""
    (small_in, in_), (small_out, out) = (_factors(side, shape.factor) for side in (inputs, outputs))
    first = small_in * small_out
    if 2 * rank >= max(in_, out):
        return [first, in_ * out * size]
    if shape.tucker and size > 1:
        return [first, rank * rank * size, rank * out, rank * in_]
    return [first, out * rank, rank * in_ * size]


def _loha(shape: LoraShape, inputs: int, outputs: int, size: int, rank: int) -> list[int]:
    """The numbers of each tensor (networks/loha.py:163-185): two pairs."""
    if shape.tucker and size > 1:
        return [rank * rank * size, rank * outputs, rank * inputs] * 2
    return [rank * outputs, rank * inputs * size] * 2


def _factors(side: int, factor: int) -> tuple[int, int]:
    """Two numbers whose product is ``side``, as near to each other as ``factor`` lets them (networks/lokr.py:24)."""
    if factor > 0 and side % factor == 0:
        return min(factor, side // factor), max(factor, side // factor)
    most = side if factor < 0 else factor
    small = max(n for n in range(1, math.isqrt(side) + 1) if side % n == 0 and n <= max(most, 1))
    return small, side // small


def lora_bytes(shape: LoraShape) -> int | None:
    """One checkpoint in bytes, within 1 % of the real file without metadata; None for an unknown family."""
    if shape.kind:
        return _products_bytes(shape)
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


LATENTS: dict[str, Latents] = {family: Latents(*pair) for family, pair in _column("latents").items()}
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


TEXT_FP32: Mapping[str, int] = _column("caption")
STAGED_TEXT: Mapping[str, int] = _column("staged")
HALVED_BY_FP16 = frozenset({"sdxl", "flux"})
CLIP_CHUNK = 75
TEXT_LENGTHS: Mapping[str, tuple[str, int]] = {family: (name, n) for family, (name, n) in _column("length").items()}
FIXED: Mapping[str, int] = _column("fixed")


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


CONTROLNETS: Mapping[str, int] = _column("controlnet")
EMBEDDINGS: Mapping[str, int] = _column("embedding")
SAVED_BESIDE: Mapping[str, list[str]] = _column("beside")
TRAINED_TEXT: Mapping[str, list[str]] = _column("trained_text")
HEADER = 300_000  # bytes of a whole model's safetensors header, about
LLLITE_MODULES, LLLITE_INPUTS = 136, 163_840
"""Modules of ControlNet-LLLite and the sum of their input widths (networks/control_net_lllite_for_train.py:47)."""


@dataclass(frozen=True, slots=True)
class DitLlliteShape:
    """What decides the size of Anima's LLLite (networks/control_net_lllite_anima.py:144, :204), by its options."""

    layers: str = "self_attn_q"
    mlp: int = 64
    embedding: int = 32
    trunk: int = 64
    blocks: int = 1
    channels: int = 3
    aspp: bool = False

    @property
    def parameters(self) -> int:
        """A trunk of convolutions that reads the condition, and linear layers for each module."""
        sets = {"self_attn_q": 1, "self_attn_qkv": 2, "self_attn_qkv_cross_q": 3}
        parts = [*LLLITE_LAYERS][: sets.get(self.layers, 0)] or [part.strip() for part in self.layers.split(",")]
        modules = ANIMA_BLOCKS * sum(count for part, count in LLLITE_LAYERS.items() if part in parts)
        e, m, c, half = self.embedding, self.mlp, self.trunk, self.trunk // 2
        one = 2 * ANIMA_WIDTH * m + m + (m + e) * m + m + 2 * m * (e + 1) + ANIMA_WIDTH
        trunk = 16 * self.channels * half + 9 * half**2 + 16 * half * c + 6 * half + 3 * c + c * e + 3 * e
        pools = 34 * c**2 + 18 * c if self.aspp else 0
        return modules * (one + e) + trunk + self.blocks * (18 * c**2 + 6 * c) + pools


ANIMA_BLOCKS, ANIMA_WIDTH = 28, 2048
LLLITE_LAYERS = {"self_attn_q_pre": 1, "self_attn_kv_pre": 2, "cross_attn_q_pre": 1, "mlp_fc1_pre": 1}
"""Modules of each block."""


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
    dit: DitLlliteShape | None = None


def trained_parameters(shape: MethodShape) -> int | None:
    """What the optimizer holds; None for a family that is not known."""
    model = ARCHITECTURES.get(shape.family)
    match shape.output:
        case "model" if model is not None:
            only = TRAINED_TEXT.get(shape.family)
            trained = sum(count for name, count in model.text if only is None or name in only)
            return model.denoiser + (trained if shape.text else 0)
        case "controlnet":
            return CONTROLNETS.get(shape.family)
        case "lllite" if shape.dit is not None:
            return shape.dit.parameters
        case "lllite":
            linear = 2 * LLLITE_INPUTS * shape.rank + LLLITE_INPUTS  # of every module, and what reads the condition
            linear += LLLITE_MODULES * shape.rank * (shape.rank + shape.embedding + 2)
            return linear + 848 * shape.embedding**2 + 3528 * shape.embedding
        case "embedding" if shape.family in EMBEDDINGS:
            return shape.vectors * EMBEDDINGS[shape.family]
        case _:
            return None


def checkpoint_bytes(shape: MethodShape) -> int | None:
    model = ARCHITECTURES.get(shape.family)
    if shape.output != "model":
        trained = trained_parameters(shape)
        return None if trained is None else trained * shape.width
    if model is None:
        return None
    parts = {"text": model.text_parameters, "autoencoder": model.autoencoder}
    beside = sum(parts[part] for part in SAVED_BESIDE.get(shape.family, parts))
    return (model.denoiser + beside) * shape.width + HEADER


def method_state_bytes(shape: MethodShape, moments: int = ADAMW_MOMENTS) -> int | None:
    """One training state: the trained weights in fp32, and ``moments`` bytes a parameter of the optimizer."""
    trained = trained_parameters(shape)
    return None if trained is None else trained * (WIDTH["float"] + moments)
