"""The recipe lines that lower the GPU memory of a run, by how much each, and which cards bear the run with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kohya_runner.machine.architectures import ARCHITECTURES
from kohya_runner.machine.memory_use import VramSettings, estimate, moments
from kohya_runner.tables import read_table
from kohya_runner.text import size

Change = tuple[str, Mapping[str, Any]]

_NAME = re.compile(r"(\w+): ")
LEAST = 100 * 10**6
"""Bytes; a line that saves less is not worth writing."""
EIGHT_BIT = 2
MUSUBI = ("flux_kontext", "flux2", "flux2_klein_4b", "flux2_klein_9b")
SCALED = ("krea2", "z_image", "qwen_image", "qwen_image_edit")
"""Families of musubi-tuner whose guides ask for both options (docs/krea2.md, docs/zimage.md, docs/qwen_image.md)."""
FP8: dict[str, str] = {
    "flux": "fp8_base",
    "sd3": "fp8_base",
    "hunyuan_image": "fp8_scaled",
    **dict.fromkeys(MUSUBI, "fp8_base"),
    **dict.fromkeys(SCALED, "fp8_base: true with args.fp8_scaled"),
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
    for line, changes in _changes(settings, room):
        if settings.options and not settings.options.issuperset(_NAME.findall(line)):
            continue  # a textual inversion of SDXL caches no texts, whatever its family does
        after = estimate(replace(settings, **changes))
        if after and now.total - after.total >= LEAST:
            found.append(Saving(line, now.total - after.total, changes))
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


def _changes(settings: VramSettings, room: int) -> Iterator[Change]:
    """Every line that can still be written, and what it sets."""
    half_precision = settings.weight <= EIGHT_BIT
    if not settings.gradient_checkpointing:
        yield "gradient_checkpointing: true", {"gradient_checkpointing": True}
    if not half_precision:
        yield "mixed_precision: bf16", {"precision": "bf16"}
    option = FP8.get(settings.family)
    if option and half_precision and settings.network and not settings.fp8:  # no script but those of LoRAs reads it
        yield f"{option}: true", {"fp8": True, "fp8_text": option.startswith("fp8_base")}
    yield from _swap(settings, room)
    if not settings.cache_latents:
        yield "cache_latents: true", {"cache_latents": True}
    if settings.family in CACHES_TEXT and not settings.cache_text:
        yield _text(settings)
    if settings.batch != 1:
        yield f"train_batch_size: 1 with args.gradient_accumulation_steps: {settings.batch}", {"batch": 1}
    if moments(settings.optimizer) > EIGHT_BIT:
        yield "optimizer_type: AdamW8bit", {"optimizer": "AdamW8bit"}
    if settings.family in UNETS and not settings.efficient_attention:
        yield "sdpa: true", {"efficient_attention": True}
    if half := settings.dim // 2:  # half the rank is half the LoRA, its gradients and its moments
        yield f"network_dim: {half}", {"lora": settings.lora // 2, "dim": half}


def _swap(settings: VramSettings, room: int) -> Iterator[Change]:
    """As few blocks as do it, for each costs time; the most where none of them is enough."""
    most = ARCHITECTURES[settings.family].most_swapped
    if settings.offload_checkpoints or most <= settings.blocks_to_swap:
        return
    counts = range(settings.blocks_to_swap + 1, most + 1)
    blocks = next((n for n in counts if _total(replace(settings, blocks_to_swap=n)) <= room), most)
    yield f"blocks_to_swap: {blocks}", {"blocks_to_swap": blocks}


def _text(settings: VramSettings) -> Change:
    """SDXL refuses to cache the outputs of text encoders that it trains (sdxl_train_network.py:42)."""
    line = "cache_text_encoder_outputs: true"
    if settings.train_text and settings.family not in KEEPS_CLIP:
        return f"{line} with args.network_train_unet_only: true", {"cache_text": True, "train_text": False}
    return line, {"cache_text": True}


GB = 10**9
"""Of a card that is sold with 24 GB torch sees 24.1 (L4, A10) to 25.8 billion bytes (RTX 4090): never less than 24."""
CLASSES = tuple((int(gb), said) for gb, said in read_table(Path(__file__).with_name("cards.toml")).items())
"""GB, and examples: facts of the cards, no offers."""


@dataclass(frozen=True, slots=True)
class CardClass:
    """One size of cards. ``lines`` are those of the recipe that make it do, none where it does as it is.

    ``needed`` are the bytes with these lines; ``fits`` is False where no lines are known that do.
    """

    gb: int
    examples: str
    needed: int
    fits: bool
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.gb} GB ({self.examples})"

    def as_json(self) -> Mapping[str, object]:
        """One entry of ``rent.cards`` in ``plan --json``."""
        return {"gb": self.gb, "examples": self.examples, "fits": self.fits, "lines": list(self.lines),
                "needed_bytes": self.needed}  # fmt: skip


def card_classes(settings: VramSettings) -> tuple[CardClass, ...]:
    """All of them, the smallest first; none for a family whose numbers are not known."""
    now = estimate(settings)
    if now is None:
        return ()
    found = []
    for gb, examples in CLASSES:
        room = gb * GB
        taken, after = enough(settings, savings(settings, room), room)  # none where it fits as it is
        lines = tuple(f"args.{saving.line}" for saving in taken) if after <= room else ()
        found.append(CardClass(gb, examples, after, fits=after <= room, lines=lines))
    return tuple(found)


def described(classes: tuple[CardClass, ...], cards: int) -> tuple[tuple[str, str], ...]:
    """(label, text) for the screen: the smallest class that does, and the next smaller one."""
    if not classes:
        return ()
    plain = [one for one in classes if one.fits and not one.lines]
    if not plain:
        return (("card", f"none of {classes[-1].gb} GB or less bears it as it is: {_with_lines(classes[-1])}"),)
    several = f"{cards} cards, each of " if cards > 1 else ""
    rows = [("card", f"{several}{plain[0]} or more; about {size(plain[0].needed)} are needed")]
    smaller = [one for one in classes if one.gb < plain[0].gb]
    return (*rows, ("smaller", f"{smaller[-1]}: {_with_lines(smaller[-1])}")) if smaller else tuple(rows)


def _with_lines(one: CardClass) -> str:
    if not one.fits:
        return f"with every line that is known to save memory about {size(one.needed)} are still needed"
    return f"would do with {', '.join(one.lines)}: then about {size(one.needed)} are needed"
