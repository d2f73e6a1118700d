"""Who paints class images, and how it is told: gen_img.py from a file of prompts, the other scripts by our questions.

The minimal inference scripts make many pictures a start in their interactive mode alone; ``engines/paint_worker.py``
answers their ``input()``, as it does for a sweep of epochs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.painting import WORKER, Base, ClassPainter, ClassPainting, PaintJob, PictureRequest
from kohya_runner.engines.sd_scripts.painter import painter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.dataset.survey import ClassImages
    from kohya_runner.engines.painting import Painter, TrainingCommand

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


def _by_file(training: TrainingCommand, images: ClassImages, scratch: Path) -> ClassPainting:
    """A line for each picture (gen_img.py:2770-2975)."""
    width, height = images.size
    flags = f"--w {width} --h {height} --s {HOW['steps']} --l {HOW['scale']}"
    missing = images.missing()
    lines = (f"{images.prompt} {flags} --d {images.seed(name)} --f {name}" for name in missing)
    file = scratch / "prompts.txt"
    command = training.runs(SCRIPT, (), _gen_img(training, scratch, file))
    return ClassPainting(images, missing, scratch, command, SCRIPT, file, "\n".join(lines) + "\n")


def _gen_img(training: TrainingCommand, scratch: Path, prompts: Path) -> tuple[str, ...]:
    given = {arg.name: arg.value for arg in training.args}
    switches = [f"--{name}" for name in ("v_parameterization", "zero_terminal_snr") if given.get(name) is True]
    named = [f"--{n}={given[n]}" for n in ("vae", "clip_skip", "tokenizer_cache_dir") if given.get(n) is not None]
    return (
        *SWITCHES[training.family], *switches, *HALF.get(str(given.get("mixed_precision")), ()),
        "--xformers" if given.get("xformers") is True else "--sdpa",
        f"--ckpt={given['pretrained_model_name_or_path']}", *named, f"--sampler={HOW['sampler']}", "--batch_size=1",
        "--images_per_prompt=1", f"--outdir={scratch}", f"--from_file={prompts}",
    )  # fmt: skip


def _asked(training: TrainingCommand, images: ClassImages, scratch: Path) -> ClassPainting:
    """One of the minimal inference scripts, without a LoRA."""
    base = training.base
    row, file, missing = painter(base), scratch / "jobs.json", images.missing()
    assert row is not None  # noqa: S101 - OTHERS have one
    options = row.arguments(base, PaintJob(file, scratch, None, 0.0, "", training.small_gpu, row.guidance))
    command = training.runs(row.script, (str(WORKER), str(file)), options)
    return ClassPainting(images, missing, scratch, command, row.script, file, _jobs(base, row, images, scratch),
                         folder_each=True)  # fmt: skip


def _jobs(base: Base, row: Painter, images: ClassImages, scratch: Path) -> str:
    width, height = images.size

    def line(name: str) -> str:
        request = PictureRequest(
            "", images.prompt, images.seed(name), "", HOW["steps"], row.guidance, width=width, height=height
        )
        return _MULTIPLIER.sub("", row.line(request))

    cells = [
        {"key": name.removesuffix(".png"), "weights": None, "strength": 0.0, "line": line(name)}
        for name in images.missing()
    ]
    told = {"version": 1, "events": str(scratch / "events.jsonl"), "outdir": str(scratch), "merged": row.merged,
            "tokenizers": base.text("tokenizer_cache_dir"), "cells": cells}  # fmt: skip
    return json.dumps(told)


CLASS_PAINTERS: tuple[ClassPainter, ...] = (
    *(ClassPainter(family, SCRIPT, _by_file, HOW) for family in SWITCHES),
    *(ClassPainter(family, row.script, _asked, HOW, multiple=row.multiple, deciding=DECIDING)
      for family in OTHERS if (row := painter(Base(family, ""))) is not None),
)  # fmt: skip
