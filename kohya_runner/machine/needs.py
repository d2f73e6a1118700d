"""What the machine checks look at: what a recipe asks of a machine, and what the trainer's Python offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo

UNET_FAMILIES = frozenset({"sd15", "sd2", "sdxl"})
"""Families with a U-Net: ``--xformers`` acts on them (library/train_util.py:3366), and fp8 weights meet GroupNorm."""


@dataclass(frozen=True, slots=True)
class MachineNeeds:
    """What a run asks of a machine. ``args`` are the trainer's options by name, without ``--``.

    ``hub_pipeline``: the base model is a Hub id, so that the trainer itself downloads a diffusers repository.
    ``places``: where the recipe sets an option, by its name.
    """

    family: str
    mixed_precision: str = "no"
    full_bf16: bool = False
    full_fp16: bool = False
    xformers: bool = False
    optimizer_type: str = ""
    fp8_base: bool = False
    num_processes: int = 1
    lora: bool = True  # a LoRA is trained
    args: Mapping[str, object] = field(default_factory=dict)
    elsewhere: bool = False
    hub_pipeline: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, option: str) -> str:
        """``file:line:column`` of an option, "" where the recipe leaves it open."""
        return self.places.get(option, "")

    @property
    def optimizer(self) -> str:
        """The optimizer as the trainer settles it (library/train_util.py:4829-4844)."""
        if self.args.get("use_8bit_adam") is True:
            return "AdamW8bit"
        if self.args.get("use_lion_optimizer") is True:
            return "Lion"
        return self.optimizer_type or "AdamW"


@dataclass(frozen=True, slots=True)
class TrainerFacts:
    """What was found of the trainer. ``cuda`` and ``bf16`` are None where torch was not asked.

    ``versions``: by distribution name; None is not installed, an absent name was not looked for.
    """

    python: Path | None = None
    checkout: Path | None = None
    commit: str | None = None
    pinned: bool = False
    edited: tuple[str, ...] = ()  # files that are not those of the commit
    versions: Mapping[str, str | None] = field(default_factory=dict)
    cuda: bool | None = None
    gpu_name: str = ""
    bf16: bool | None = None
    import_error: str = ""
    engine: EngineInfo = field(kw_only=True)
