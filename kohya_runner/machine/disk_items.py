"""The disk items of a LoRA run, each with the recipe lines that would shrink it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner.machine.disk import DiskItem
from kohya_runner.machine.memory import sizes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEEP = 3
"""The number of checkpoints that a hint proposes to keep."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many images of one size in pixels."""

    width: int
    height: int
    images: int


def checkpoints(shape: sizes.LoraShape, count: int, folder: Path) -> DiskItem | None:
    """``count`` checkpoints that lie there at the same time; None where the family's size is not known."""
    one = sizes.lora_bytes(shape)
    if one is None:
        return None
    lines: list[tuple[str, int]] = []
    if shape.precision == "float":
        half = sizes.lora_bytes(replace(shape, precision="fp16")) or one
        lines.append(("save_precision: fp16", half * count))
    if count > KEEP + 1:  # the last file comes on top (train_util.py:5771-6000)
        lines.append((f"save_last_n_epochs: {KEEP}", one * (KEEP + 1)))
    if shape.dim > 1:
        dim = shape.dim // 2
        smaller = sizes.lora_bytes(replace(shape, dim=dim)) or one
        lines.append((f"network_dim: {dim}", smaller * count))
    return DiskItem("checkpoints", one * count, folder, tuple(lines))


def states(shape: sizes.LoraShape, count: int, folder: Path, *, moments: int = sizes.ADAMW_MOMENTS) -> DiskItem | None:
    """``count`` training states that lie there at the same time; None where the family's size is not known."""
    one = sizes.state_bytes(shape, moments)
    if one is None:
        return None
    lines = ((f"save_last_n_epochs_state: {KEEP}", one * (KEEP + 1)),) if count > KEEP + 1 else ()
    return DiskItem("training states", one * count, folder, lines)


def latents(
    family: str, buckets: Iterable[Bucket], folder: Path, *, flip: bool = False, alpha_mask: bool = False
) -> DiskItem | None:
    """The latent cache on disk; None where the family's size is not known."""
    each = [
        (bucket.images, sizes.latent_bytes(family, bucket.width, bucket.height, flip=flip, alpha_mask=alpha_mask))
        for bucket in buckets
    ]
    if any(size is None for _, size in each):
        return None
    total = sum(images * (size or 0) for images, size in each)
    return DiskItem("latent cache", total, folder, (("cache_latents_to_disk: false", 0),))


def texts(family: str, images: int, folder: Path, *, max_tokens: int, fp16: bool) -> DiskItem | None:
    """The text encoder cache on disk; None where the family has none."""
    one = sizes.text_bytes(family, max_tokens=max_tokens, fp16=fp16)
    if one is None:
        return None
    line = ("cache_text_encoder_outputs_to_disk: false", 0)
    return DiskItem("text encoder cache", one * images, folder, (line,))
