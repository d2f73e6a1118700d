"""Who paints class images, and how it is told: gen_img.py from a file of prompts, the other scripts by our questions.

The minimal inference scripts make many pictures a start in their interactive mode alone; ``sweep_worker.py`` beside
this module answers their ``input()``, as it does for a sweep of epochs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.command import Command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.compare.subject import Base
    from kohya_runner.dataset.class_images import ClassImages
    from kohya_runner.engines.sd_scripts.painter import Engine
    from kohya_runner.plan.value import Plan

SCRIPT = "gen_img.py"
SWITCHES: Mapping[str, tuple[str, ...]] = {
    "sd15": ("--v1",), "sd2": ("--v2",), "sdxl": ("--sdxl", "--no_half_vae"),
}  # fmt: skip
"""Families that gen_img.py paints, and how it is told."""
HOW: Mapping[str, Any] = {"steps": 30, "scale": 7.5, "sampler": "ddim"}
"""Usual settings of gen_img.py; the pictures are to be those that the base model makes anyway."""
HALF: Mapping[str, tuple[str, ...]] = {"bf16": ("--bf16",), "fp16": ("--fp16",)}
OTHERS = ("flux", "sd3", "lumina", "anima")
"""Families whose minimal inference script is asked for each picture (engines/sd_scripts/painter.py)."""
DECIDING = (
    "model_type", "discrete_flow_shift", "system_prompt", "apply_t5_attn_mask", "apply_lg_attn_mask", "fp8_base",
)  # fmt: skip
"""Their options that decide a picture, beside the files."""
_MULTIPLIER = re.compile(r" --m \S+")
"""There is no LoRA here; a prompt holds no ``--`` (class_stage.py)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One process that paints the missing pictures of a folder. ``told`` is the text of ``file``, which it reads."""

    images: ClassImages
    missing: tuple[str, ...]
    scratch: Path  # finished pictures are moved out of it one by one
    command: Command
    script: str
    file: Path
    told: str

    def painted(self, name: str) -> Path | None:
        """The picture as the script leaves it, whole or not; None before it is begun."""
        if self.script == SCRIPT:
            return self.scratch / name if (self.scratch / name).is_file() else None
        return next(iter(sorted((self.scratch / name.removesuffix(".png")).glob("*.png"))), None)


def can_paint(family: str) -> bool:
    """Whether a script of the trainer paints many pictures of the family a start."""
    return family in SWITCHES or family in OTHERS


def multiple(family: str) -> int:
    """What both sides of a picture are a multiple of, in pixels."""
    return _row(family).multiple if family in OTHERS else 8


def script_of(family: str) -> str:
    """The script that paints."""
    return _row(family).script if family in OTHERS else SCRIPT


def stage(plan: Plan, images: ClassImages) -> Stage:
    """The trainer's Python and its script, with what of the training's options decides a picture."""
    assert plan.support is not None  # noqa: S101 - a plan that can be launched has one
    scratch = images.folder / ".painting"
    return (_asked if plan.support.family in OTHERS else _by_file)(plan, images, scratch)


def _by_file(plan: Plan, images: ClassImages, scratch: Path) -> Stage:
    """A line for each picture (gen_img.py:2770-2975)."""
    width, height = images.size
    flags = f"--w {width} --h {height} --s {HOW['steps']} --l {HOW['scale']}"
    missing = images.missing()
    lines = (f"{images.prompt} {flags} --d {images.seed(name)} --f {name}" for name in missing)
    file = scratch / "prompts.txt"
    command = _command(plan, SCRIPT, (), _gen_img(plan, scratch, file))
    return Stage(images, missing, scratch, command, SCRIPT, file, "\n".join(lines) + "\n")


def _gen_img(plan: Plan, scratch: Path, prompts: Path) -> tuple[str, ...]:
    given = {arg.name: arg.value for arg in plan.args}
    assert plan.support is not None  # noqa: S101 - the caller looked
    switches = [f"--{name}" for name in ("v_parameterization", "zero_terminal_snr") if given.get(name) is True]
    named = [f"--{n}={given[n]}" for n in ("vae", "clip_skip", "tokenizer_cache_dir") if given.get(n) is not None]
    return (
        *SWITCHES[plan.support.family], *switches, *HALF.get(str(given.get("mixed_precision")), ()),
        "--xformers" if given.get("xformers") is True else "--sdpa",
        f"--ckpt={given['pretrained_model_name_or_path']}", *named, f"--sampler={HOW['sampler']}", "--batch_size=1",
        "--images_per_prompt=1", f"--outdir={scratch}", f"--from_file={prompts}",
    )  # fmt: skip


def _asked(plan: Plan, images: ClassImages, scratch: Path) -> Stage:
    """One of the minimal inference scripts, without a LoRA."""
    from kohya_runner.compare.sweep import SIDE_BY_SIDE
    from kohya_runner.engines.sd_scripts.painter import WORKER, Job, of_base

    base = _base(plan)
    engine, file, missing = of_base(base), scratch / "jobs.json", images.missing()
    small = any((gpu.total_bytes or SIDE_BY_SIDE) < SIDE_BY_SIDE for gpu in plan.gpus)
    options = engine.arguments(base, Job(file, scratch, None, 0.0, "", small, engine.guidance))
    command = _command(plan, engine.script, (str(WORKER), str(file)), options)
    return Stage(images, missing, scratch, command, engine.script, file, _jobs(base, engine, images, scratch))


def _jobs(base: Base, engine: Engine, images: ClassImages, scratch: Path) -> str:
    from kohya_runner.compare.cells import Cell, Column
    from kohya_runner.compare.settings import Settings

    column = Column("base", None, 0.0)
    settings = Settings(
        (images.prompt,), steps=HOW["steps"], guidance=engine.guidance, width=images.size[0], height=images.size[1]
    )
    cell = Cell("", 0, 0, 0)
    rows = [
        {"key": name.removesuffix(".png"), "weights": None, "strength": 0.0,
         "line": _MULTIPLIER.sub("", engine.line(settings, replace(cell, seed=images.seed(name)), column))}
        for name in images.missing()
    ]  # fmt: skip
    told = {"version": 1, "events": str(scratch / "events.jsonl"), "outdir": str(scratch), "merged": engine.merged,
            "tokenizers": base.text("tokenizer_cache_dir"), "cells": rows}  # fmt: skip
    return json.dumps(told)


def _base(plan: Plan) -> Base:
    """The base model as the training has it."""
    from kohya_runner.compare.subject import MODELS, Base

    assert plan.support is not None  # noqa: S101 - the caller looked
    options = {arg.name: arg.value if arg.value is True else str(arg.value) for arg in plan.args if arg.tokens}
    model = next(str(options[name]) for name in MODELS if name in options)
    return Base(plan.support.family, model, options)


def _row(family: str) -> Engine:
    from kohya_runner.engines.sd_scripts.painter import find

    return find(family)


def _command(plan: Plan, script: str, before: tuple[str, ...], options: tuple[str, ...]) -> Command:
    assert plan.command is not None  # noqa: S101 - the caller looked
    python = str(plan.python.path) if plan.python else "python3"
    path = str(plan.checkout.root / script) if plan.checkout else script
    return Command((python, *before, path, *options), plan.command.cwd, plan.command.env)
