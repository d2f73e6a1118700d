"""What a training needs of GPU memory and of RAM, estimated part by part.

Weights, LoRA, gradients and optimizer are counted; activations are a model fitted to the published figures in
``tests/support/vram_figures.py``, which a test holds it to. It is an estimate: drivers, fragmentation and library
versions move it by a tenth or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kohya_runner.machine.architectures import ARCHITECTURES, Architecture

WORKSPACE = 850 * 10**6
"""The CUDA context, its libraries and the allocator's slack."""
BLOCK_PEAK = 60
"""What is alive while one block of a transformer is computed again, in tensors of tokens x width."""
BLOCK_KEPT = 19
"""What each block of a transformer keeps without gradient checkpointing, in the same unit."""
ENCODE_BYTES = 2000
"""Working memory of an autoencoder for each pixel of a picture, in half precision."""
TEXT_TRAINING = 100 * 10**6
"""Activations of the text encoders for each picture, where they are trained."""
MOMENTS: dict[str, int] = {
    "adamw": 8, "adamw8bit": 2, "pagedadamw8bit": 2, "pagedadamw": 8, "pagedadamw32bit": 8, "lion": 4, "lion8bit": 1,
    "pagedlion8bit": 1, "adafactor": 1, "prodigy": 16, "sgdnesterov": 4, "sgdnesterov8bit": 1,
    "adamwschedulefree": 8, "radamschedulefree": 8, "sgdschedulefree": 4, "prodigyplusschedulefree": 5,
    "ademamix8bit": 4, "pagedademamix8bit": 4, "ademamix": 12, "sgd": 0, "adam8bit": 2,
    "dadaptadam": 12, "dadaptation": 12, "dadaptadampreprint": 12,
}  # fmt: skip
"""Bytes of optimizer state for each trained parameter, by the last part of the name; measured, rounded up."""
USUAL_MOMENTS = 8


@dataclass(frozen=True, slots=True)
class VramSettings:
    """The options that decide. ``lora`` is the number of trained parameters, ``pixels`` those of the largest bucket.

    ``text_fp8``: the big text encoder's file holds fp8 weights. ``full_half`` is full_fp16 or full_bf16,
    ``text_on_cpu`` HunyuanImage's text_encoder_cpu. ``dim`` is network_dim, for the hints alone.
    """

    family: str
    lora: int
    pixels: int
    batch: int = 1
    precision: str = "no"
    full_half: bool = False
    fp8: bool = False
    fp8_text: bool = False
    gradient_checkpointing: bool = False
    offload_checkpoints: bool = False
    blocks_to_swap: int = 0
    cache_latents: bool = False
    cache_text: bool = False
    train_text: bool = True
    optimizer: str = "AdamW"
    efficient_attention: bool = False
    no_half_vae: bool = False
    text_fp8: bool = False
    text_on_cpu: bool = False
    dim: int = 0
    network: bool = True  # the trained parameters are a LoRA
    whole: bool = False  # the trained parameters are the base model itself
    options: frozenset[str] = frozenset()  # the script's own, for the hints alone; none: not known
    fused: bool = False  # each gradient is used up as soon as it is there (fused_backward_pass)

    @property
    def weight(self) -> int:
        """Bytes of one weight that is not fp8 (library/accelerator_setup.py:156)."""
        return 2 if self.precision in {"fp16", "bf16"} else 4


@dataclass(frozen=True, slots=True)
class VramEstimate:
    """Bytes by part, of the stage that needs most: ``training``, or the caching before it."""

    stage: str
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def moments(optimizer: str) -> int:
    """Bytes of optimizer state for each trained parameter, by ``--optimizer_type``."""
    return MOMENTS.get(optimizer.lower().rpartition(".")[2], USUAL_MOMENTS)


def estimate(settings: VramSettings) -> VramEstimate | None:
    """The stage that needs most GPU memory; None for a family whose numbers are not known."""
    shape = ARCHITECTURES.get(settings.family)
    if shape is None:
        return None
    stages = [VramEstimate("training", _training(settings, shape))]
    if settings.cache_text:
        stages.append(VramEstimate("caching text encoder outputs", _text_caching(settings, shape)))
    return max(stages, key=lambda stage: stage.total)


def _training(settings: VramSettings, shape: Architecture) -> dict[str, int]:
    vae = 4 if settings.no_half_vae else settings.weight
    # pictures go through the autoencoder at every step where their latents are not cached
    encoding = 0 if settings.cache_latents else settings.batch * settings.pixels * ENCODE_BYTES * vae // 2
    text_activations = settings.batch * TEXT_TRAINING if settings.train_text else 0
    parts = {
        "base model": _denoiser(settings, shape),
        "text encoders": _text(settings, shape),
        "autoencoder": 0 if settings.cache_latents else shape.autoencoder * vae,
        trained_label(settings): _trained(settings),
        "activations": max(_activations(settings, shape), encoding) + text_activations,
        "CUDA": WORKSPACE,
    }
    return {name: size for name, size in parts.items() if size}


def _text_caching(settings: VramSettings, shape: Architecture) -> dict[str, int]:
    """The base model waits in host memory meanwhile (flux_train_network.py:237)."""
    if settings.text_on_cpu:
        return {"CUDA": WORKSPACE}
    largest = max(count for _, count in shape.text)
    saved = largest * (settings.weight - 1) if settings.text_fp8 else 0
    return {"text encoders": shape.text_parameters * settings.weight - saved, "CUDA": WORKSPACE}


def trained_label(settings: VramSettings) -> str:
    return "LoRA, gradients, optimizer" if settings.network else "weights, gradients, optimizer"


def _denoiser(settings: VramSettings, shape: Architecture) -> int:
    if settings.whole:
        return 0
    stays = shape.denoiser - shape.swapped(settings.blocks_to_swap)
    if settings.fp8 and shape.kept:  # a block's weights are in 16 bit again while its gradients are computed
        return stays + shape.kept + shape.double.parameters * settings.weight
    return stays * (1 if settings.fp8 else settings.weight)


def _text(settings: VramSettings, shape: Architecture) -> int:
    """All of them where nothing is cached; with cached outputs FLUX and SD3 keep the CLIP models that are trained."""
    if not settings.cache_text:
        return shape.text_parameters * (1 if settings.fp8_text else settings.weight)
    if not settings.train_text:
        return 0
    return sum(count for name, count in shape.text if name.startswith("clip")) * settings.weight


def _trained(settings: VramSettings) -> int:
    """Weights and gradients in fp32 unless everything is half, and the optimizer's moments."""
    width = 2 if settings.full_half else 4
    each = width * (1 if settings.fused else 2) + moments(settings.optimizer)
    swapped = ARCHITECTURES[settings.family].swapped(settings.blocks_to_swap) if settings.whole else 0
    return settings.lora * each - swapped * width


def _activations(settings: VramSettings, shape: Architecture) -> int:
    if shape.kind == "unet":
        return _unet_activations(settings, shape)
    tokens = settings.pixels // shape.stride**2 + shape.text_tokens
    tensor = settings.batch * tokens * shape.width * settings.weight
    blocks = shape.double.count + shape.single.count
    if not settings.gradient_checkpointing:
        return tensor * (blocks * BLOCK_KEPT + BLOCK_PEAK)
    return tensor * (BLOCK_PEAK + (0 if settings.offload_checkpoints else blocks))


ATTENTION_LAYERS = 5
"""Layers of a U-Net with attention at its finest resolution: two going down, three coming up."""
ATTENTION: dict[str, tuple[int, int, int]] = {"sd15": (8, 8, 1), "sd2": (8, 5, 1), "sdxl": (16, 10, 2)}
"""Pixels per position along a side, heads, and transformer blocks of those layers."""


def _unet_activations(settings: VramSettings, shape: Architecture) -> int:
    """Convolutions grow with the pixels; attention too, but for the plain kind, which holds a matrix of positions."""
    each = shape.activations[0 if settings.gradient_checkpointing else 1] * settings.pixels // shape.pixels
    total = settings.batch * each * settings.weight // 2
    if settings.efficient_attention or settings.family not in ATTENTION:
        return total
    stride, heads, depth = ATTENTION[settings.family]
    positions = settings.pixels // stride**2
    kept = 1 if settings.gradient_checkpointing else ATTENTION_LAYERS * depth
    return total + settings.batch * heads * positions**2 * settings.weight * (kept + 1)


RUNTIME = 2 * 10**9
"""Python, torch, its CUDA libraries, the trainer; about half of it without a GPU."""
FLOAT32 = 4
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
LOADED_LATE = frozenset({"hunyuan_image"})
"""The base model comes when the text encoders are gone (hunyuan_image_train_network.py:389)."""


@dataclass(frozen=True, slots=True)
class HostUse:
    """What decides over the host's memory beside the options. ``dtypes`` are those of the files, by slot, if known.

    ``cached`` are bytes of latents and text encoder outputs that are kept in memory rather than on the disk,
    ``training`` those of LoRA, optimizer and activations: without a GPU they are here as well.
    """

    on_gpu: bool = True
    low_ram: bool = False
    cached: int = 0
    training: int = 0
    dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RamEstimate:
    """Bytes by part at the fullest moment. ``certain`` is what cannot be less: copies the trainer makes of weights."""

    parts: Mapping[str, int]
    certain: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def ram_estimate(settings: VramSettings, use: HostUse) -> RamEstimate | None:
    """The moment when the models are loaded; None for a family whose numbers are not known."""
    shape = ARCHITECTURES.get(settings.family)
    if shape is None:
        return None
    loaded = (_unet_models if shape.kind == "unet" else _transformer_models)(settings, use, shape)
    training = 0 if use.on_gpu else use.training
    rest = {"cached latents and texts": use.cached, "training": training}
    rest["programs"] = RUNTIME if use.on_gpu else RUNTIME // 2
    parts = {**loaded, **rest}
    certain = sum(loaded.values()) if shape.kind == "unet" else 0
    return RamEstimate({name: size for name, size in parts.items() if size}, certain)


STRAIGHT_TO_GPU = LOADED_HALF = ("sdxl",)


def _unet_models(settings: VramSettings, use: HostUse, shape: Architecture) -> dict[str, int]:
    """In float32 whatever the file holds (library/model_util.py:1015, library/sdxl_model_util.py:210).

    With full_fp16 and full_bf16 SDXL loads U-Net and autoencoder in half; SD 1.5 and 2 do not.
    """
    if use.low_ram and use.on_gpu and settings.family in STRAIGHT_TO_GPU:
        return {}  # straight to the GPU (library/sdxl_train_util.py:48)
    half = settings.full_half and settings.family in LOADED_HALF
    width = 2 if half else FLOAT32
    models = {"base model": shape.denoiser * width, "text encoders": shape.text_parameters * FLOAT32}
    return models | {"autoencoder": shape.autoencoder * width}


def _transformer_models(settings: VramSettings, use: HostUse, shape: Architecture) -> dict[str, int]:
    """Files are mapped; what has another type than the training's is copied (library/safetensors_utils.py:315)."""
    base = shape.denoiser * (1 if settings.fp8 else settings.weight)
    widths = {name: settings.weight for name, _ in shape.text}
    if settings.fp8_text and "t5xxl" in widths:  # with fp8_base T5 stays as its file has it (flux_train_network.py:147)
        widths["t5xxl"] = WIDTHS.get(use.dtypes.get("t5xxl", ""), 2)
    text = sum(count * widths[name] for name, count in shape.text)
    rest = {"autoencoder": shape.autoencoder * settings.weight}
    if settings.family in LOADED_LATE:
        return {"base model" if base > text else "text encoders": max(base, text), **rest}
    return {"base model": base, "text encoders": text, **rest}
