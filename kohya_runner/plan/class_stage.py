"""``class_prompt`` and ``num_class_images``: which class images must be painted first, by which command."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.batching import parse_resolution
from kohya_runner.dataset.class_images import ClassImages
from kohya_runner.dataset.mention import counted
from kohya_runner.dataset.scan import is_image
from kohya_runner.findings import Finding, error, info
from kohya_runner.trainers.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kohya_runner.plan.value import Plan
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.recipe.models import Dataset
    from kohya_runner.workspace import Workspace

FOLDER = "class_images"
SCRIPT = "gen_img.py"
PAINTERS: Mapping[str, tuple[str, ...]] = {
    "sd15": ("--v1",), "sd2": ("--v2",), "sdxl": ("--sdxl", "--no_half_vae"),
}  # fmt: skip
"""Families that gen_img.py paints, and how it is told; the other families' scripts make one picture a start."""
HOW: Mapping[str, Any] = {"steps": 30, "scale": 7.5, "sampler": "ddim"}
"""Usual settings of gen_img.py; the pictures are to be those that the base model makes anyway."""
DECIDING = ("v_parameterization", "zero_terminal_snr", "clip_skip", "vae")
HALF: Mapping[str, tuple[str, ...]] = {"bf16": ("--bf16",), "fp16": ("--fp16",)}
_VARIANTS = re.compile(r"\{.+\}")
"""A choice of prompts to gen_img.py (gen_img.py:1369)."""
UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def class_images(loaded: Loaded, index: int, entry: Dataset, workspace: Workspace) -> ClassImages | None:
    """The pictures that are painted for an entry; None where its folder has enough, or none are asked for."""
    if entry.num_class_images is None or not entry.class_prompt or not entry.regularization:
        return None
    there = _count(loaded.path_from(entry.images, "datasets", index, "images")) if entry.images else 0
    if there >= entry.num_class_images:
        return None
    prompt, size = " ".join(entry.class_prompt.split()), _size(loaded, entry)
    facts = {name: loaded.args.get(name) for name in DECIDING}
    model = loaded.recipe.model if loaded.recipe else loaded.word("model")
    told = json.dumps([loaded.word("family"), str(model), prompt, size, HOW, facts], sort_keys=True, default=str)
    name = f"{UNSAFE.sub('_', prompt)[:40].strip('_')}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    return ClassImages(workspace.root / FOLDER / name, prompt, entry.num_class_images - there, size)


def _size(loaded: Loaded, entry: Dataset) -> tuple[int, int]:
    """The training resolution in steps of 8, which a latent has."""
    stated = entry.options.get("resolution") or loaded.args.get("resolution")
    width, height = parse_resolution(stated) or (512, 512)
    return max(64, width // 8 * 8), max(64, height // 8 * 8)


def _count(folder: Path) -> int:
    try:
        return sum(1 for name in os.listdir(folder) if is_image(name))  # noqa: PTH208 - names, not paths
    except OSError:
        return 0


def findings(loaded: Loaded, workspace: Workspace) -> Iterator[Finding]:
    """What is wrong with the two keys, and what will be painted."""
    for index, entry in loaded.datasets.items():
        where = loaded.where("datasets", index, "class_prompt" if entry.class_prompt else "num_class_images")
        problem, hint = _problem(entry)
        if problem:
            yield error("recipe.value", f"datasets.{index}: {problem}", where=where, hint=hint)
        wanted = class_images(loaded, index, entry, workspace) if not problem else None
        missing = len(wanted.missing()) if wanted else 0
        if wanted and missing:
            yield from _painted(loaded, wanted, missing, where)


def _problem(entry: Dataset) -> tuple[str, str]:
    """What is wrong with an entry, and what to write; two empty texts for nothing."""
    prompt, number = entry.class_prompt, entry.num_class_images
    if prompt is None and number is None:
        return "", ""
    if not entry.regularization:
        return "class_prompt and num_class_images are for class images", "write regularization: true, or leave them out"
    if prompt is None or number is None:
        lacking = "class_prompt" if prompt is None else "num_class_images"
        return f"{lacking} is missing: class images need a prompt and a number", f"write {lacking}"
    return _unpaintable(prompt)


def _unpaintable(prompt: str) -> tuple[str, str]:
    if not prompt.strip():
        return "class_prompt is empty", "write what the class is, such as a photo of a dog"
    if "--" in prompt or _VARIANTS.search(prompt):
        return "class_prompt holds '--' or {...}, which are options to gen_img.py", "write plain words"
    return "", ""


def _painted(loaded: Loaded, wanted: ClassImages, missing: int, where: str) -> Iterator[Finding]:
    family = loaded.word("family")
    if family not in PAINTERS:
        known = ", ".join(PAINTERS)
        text = f"{counted(missing, 'class image')} missing, and only those of {known} can be painted, by {SCRIPT}"
        hint = f"the trainer's scripts for {family} make one picture a start: name a folder with enough pictures"
        yield error("dataset.class_images", text, where=where, hint=hint)
        return
    what = f"{counted(missing, 'class image')} of '{wanted.prompt}'"
    text = f"{what} will be painted first by {SCRIPT}, into {wanted.folder}"
    hint = "how long that takes is not known: the base model is loaded once more, then 30 steps a picture"
    yield info("dataset.class_images", text, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class Stage:
    """One process that paints the missing pictures of a folder."""

    images: ClassImages
    missing: tuple[str, ...]
    scratch: Path  # finished pictures are moved out of it one by one
    command: Command

    @property
    def prompts(self) -> str:
        """The text of the prompt file: a line for each picture (gen_img.py:2770-2975)."""
        width, height = self.images.size
        flags = f"--w {width} --h {height} --s {HOW['steps']} --l {HOW['scale']}"
        lines = (f"{self.images.prompt} {flags} --d {self.images.seed(n)} --f {n}" for n in self.missing)
        return "\n".join(lines) + "\n"

    @property
    def prompt_file(self) -> Path:
        """Where it lies."""
        return self.scratch / "prompts.txt"


def stages(plan: Plan) -> tuple[Stage, ...]:
    """The processes to run before the training, in order; none where every picture is there."""
    if plan.command is None or plan.support is None or plan.request.practice:
        return ()
    made = (scan.source.made for scan in plan.scans)
    wanted = {images.folder: images for images in made if images is not None and images.missing()}
    return tuple(_stage(plan, images) for images in wanted.values() if plan.support.family in PAINTERS)


def _stage(plan: Plan, images: ClassImages) -> Stage:
    """The trainer's Python and its generator, with what of the training's options decides a picture."""
    assert plan.command is not None  # noqa: S101 - the caller looked
    scratch = images.folder / ".painting"
    python = str(plan.python.path) if plan.python else "python3"
    script = str(plan.checkout.root / SCRIPT) if plan.checkout else SCRIPT
    command = Command((python, script, *_arguments(plan, scratch)), plan.command.cwd, plan.command.env)
    return Stage(images, images.missing(), scratch, command)


def _arguments(plan: Plan, scratch: Path) -> tuple[str, ...]:
    given = {arg.name: arg.value for arg in plan.args}
    assert plan.support is not None  # noqa: S101 - the caller looked
    switches = [f"--{name}" for name in ("v_parameterization", "zero_terminal_snr") if given.get(name) is True]
    named = [f"--{n}={given[n]}" for n in ("vae", "clip_skip", "tokenizer_cache_dir") if given.get(n) is not None]
    return (
        *PAINTERS[plan.support.family], *switches, *HALF.get(str(given.get("mixed_precision")), ()),
        "--xformers" if given.get("xformers") is True else "--sdpa",
        f"--ckpt={given['pretrained_model_name_or_path']}", *named, f"--sampler={HOW['sampler']}", "--batch_size=1",
        "--images_per_prompt=1", f"--outdir={scratch}", f"--from_file={scratch / 'prompts.txt'}",
    )  # fmt: skip
