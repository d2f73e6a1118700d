"""The recipe lines that lower the GPU memory of a run, and by how much each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kohya_runner.machine.architectures import ARCHITECTURES
from kohya_runner.machine.memory_use import VramSettings, estimate, moments

Change = tuple[str, Mapping[str, Any]]


_NAME = re.compile(r"(\w+): ")
LEAST = 100 * 10**6
"""Bytes; a line that saves less is not worth writing."""
EIGHT_BIT = 2
MUSUBI = ("flux_kontext", "flux2", "flux2_klein_4b", "flux2_klein_9b")
FP8: dict[str, str] = {
    "flux": "fp8_base",
    "sd3": "fp8_base",
    "hunyuan_image": "fp8_scaled",
    **dict.fromkeys(MUSUBI, "fp8_base"),
}
CACHES_TEXT = frozenset({"sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima"})
KEEPS_CLIP = frozenset({"sd3", "flux"})
"""Families that cache T5's outputs and train CLIP all the same (flux_train_network.py:206)."""
UNETS = frozenset({"sd15", "sd2", "sdxl"})


@dataclass(frozen=True, slots=True)
class Saving:
    """Lines of ``args``, the bytes they save by themselves, and what they set."""

    line: str
    bytes: int
    changes: Mapping[str, Any]


def savings(settings: VramSettings, room: int) -> tuple[Saving, ...]:
    """What can be written, the largest saving first; ``room`` are the GPU's bytes."""
    now = estimate(settings)
    if now is None:
        return ()
    found = []
    for lever in LEVERS:
        change = lever(settings, room)
        if change and settings.options and not settings.options.issuperset(_NAME.findall(change[0])):
            continue  # a textual inversion of SDXL caches no texts, whatever its family does
        after = estimate(replace(settings, **change[1])) if change else None
        if change and after and now.total - after.total >= LEAST:
            found.append(Saving(change[0], now.total - after.total, change[1]))
    return tuple(sorted(found, key=lambda saving: -saving.bytes))


def enough(settings: VramSettings, found: tuple[Saving, ...], room: int) -> tuple[tuple[Saving, ...], int]:
    """The first of them that fit the room together, and the bytes that are then needed; all where none is enough."""
    taken: list[Saving] = []
    needed = _total(settings)
    for saving in found:
        if needed <= room:
            break
        settings = replace(settings, **saving.changes)
        taken.append(saving)
        needed = _total(settings)
    return tuple(taken), needed


def _total(settings: VramSettings) -> int:
    now = estimate(settings)
    return now.total if now else 0


def _checkpointing(settings: VramSettings, _: int) -> Change | None:
    if settings.gradient_checkpointing:
        return None
    return "gradient_checkpointing: true", {"gradient_checkpointing": True}


def _precision(settings: VramSettings, _: int) -> Change | None:
    return ("mixed_precision: bf16", {"precision": "bf16"}) if settings.weight > EIGHT_BIT else None


def _fp8(settings: VramSettings, _: int) -> Change | None:
    """No script but those of LoRAs looks at it."""
    option = FP8.get(settings.family)
    if option is None or settings.fp8 or settings.weight > EIGHT_BIT or not settings.network:
        return None
    return f"{option}: true", {"fp8": True, "fp8_text": option == "fp8_base"}


def _swap(settings: VramSettings, room: int) -> Change | None:
    """As few blocks as do it, for each costs time; the most where none of them is enough."""
    shape = ARCHITECTURES[settings.family]
    if settings.offload_checkpoints or shape.most_swapped <= settings.blocks_to_swap:
        return None
    counts = range(settings.blocks_to_swap + 1, shape.most_swapped + 1)
    fitting = (n for n in counts if _total(replace(settings, blocks_to_swap=n)) <= room)
    blocks = next(fitting, shape.most_swapped)
    return f"blocks_to_swap: {blocks}", {"blocks_to_swap": blocks}


def _latents(settings: VramSettings, _: int) -> Change | None:
    return None if settings.cache_latents else ("cache_latents: true", {"cache_latents": True})


def _text(settings: VramSettings, _: int) -> Change | None:
    """SDXL refuses to cache the outputs of text encoders that it trains (sdxl_train_network.py:42)."""
    if settings.cache_text or settings.family not in CACHES_TEXT:
        return None
    line = "cache_text_encoder_outputs: true"
    if settings.train_text and settings.family not in KEEPS_CLIP:
        return f"{line} with args.network_train_unet_only: true", {"cache_text": True, "train_text": False}
    return line, {"cache_text": True}


def _batch(settings: VramSettings, _: int) -> Change | None:
    if settings.batch == 1:
        return None
    return f"train_batch_size: 1 with args.gradient_accumulation_steps: {settings.batch}", {"batch": 1}


def _optimizer(settings: VramSettings, _: int) -> Change | None:
    if moments(settings.optimizer) <= EIGHT_BIT:
        return None
    return "optimizer_type: AdamW8bit", {"optimizer": "AdamW8bit"}


def _attention(settings: VramSettings, _: int) -> Change | None:
    if settings.efficient_attention or settings.family not in UNETS:
        return None
    return "sdpa: true", {"efficient_attention": True}


def _dim(settings: VramSettings, _: int) -> Change | None:
    """Half the rank is half the LoRA, its gradients and its moments."""
    half = settings.dim // 2
    return (f"network_dim: {half}", {"lora": settings.lora // 2, "dim": half}) if half else None


LEVERS: tuple[Callable[[VramSettings, int], Change | None], ...] = (
    _checkpointing, _precision, _fp8, _swap, _latents, _text, _batch, _optimizer, _attention, _dim,
)  # fmt: skip
