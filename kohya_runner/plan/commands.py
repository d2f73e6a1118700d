"""The processes of a plan, and the variables that they get beside those of the shell."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.buckets import parse_resolution
from kohya_runner.dataset.captions import images_in
from kohya_runner.dataset.survey import ClassImages
from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines import arguments, table
from kohya_runner.engines.arguments import Command
from kohya_runner.engines.protocol import ResolvedRecipe
from kohya_runner.findings import Finding, error, info
from kohya_runner.machine.rendezvous import Rendezvous
from kohya_runner.recipe.models import Dataset
from kohya_runner.safe_files import HERE
from kohya_runner.text import counted
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.engines.painting import ClassPainter, ClassPainting
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.plan.value import Plan
    from kohya_runner.recipe.load import Loaded

FOLDER = "class_images"
DECIDING = ("v_parameterization", "zero_terminal_snr", "clip_skip", "vae")
_VARIANTS = re.compile(r"\{.+\}")
"""A choice of prompts to gen_img.py (gen_img.py:1369)."""
UNSAFE = re.compile(r"[^A-Za-z0-9]+")

CPU_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""For training on a CPU: glibc keeps freed memory for the next tensor. SD 1.5: 1.9 s a step instead of 3.2."""


def class_images(loaded: Loaded, index: int, entry: Dataset, workspace: Workspace) -> ClassImages | None:
    """The pictures that are painted for an entry; None where its folder has enough, or none are asked for."""
    if entry.num_class_images is None or not entry.class_prompt or not entry.regularization:
        return None
    there = images_in(loaded.path_from(entry.images, "datasets", index, "images")) if entry.images else 0
    if there >= entry.num_class_images:
        return None
    prompt, family = " ".join(entry.class_prompt.split()), loaded.word("family")
    painter, args = _painter(family), loaded.args
    step = painter.multiple if painter else 8
    sides = parse_resolution(entry.options.get("resolution") or args.get("resolution")) or (512, 512)
    size = (max(64, sides[0] // step * step), max(64, sides[1] // step * step))  # in the steps that the script takes
    model = loaded.recipe.model if loaded.recipe else loaded.word("model")
    facts = {name: args.get(name) for name in DECIDING}
    said = [family, str(model), prompt, size, painter.how if painter else {}, facts]
    if painter and painter.deciding:  # families that have their parts in files of their own
        parts = loaded.recipe.components if loaded.recipe else {}
        said += [{name: args.get(name) for name in painter.deciding}, dict(parts)]
    told = json.dumps(said, sort_keys=True, default=str)
    name = f"{UNSAFE.sub('_', prompt)[:40].strip('_')}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    return ClassImages(workspace.root / FOLDER / name, prompt, entry.num_class_images - there, size)


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
    if not prompt.strip():
        return "class_prompt is empty", "write what the class is, such as a photo of a dog"
    if "--" in prompt or _VARIANTS.search(prompt):
        return "class_prompt holds '--' or {...}, which are options to the scripts that paint", "write plain words"
    return "", ""


def _painted(loaded: Loaded, wanted: ClassImages, missing: int, where: str) -> Iterator[Finding]:
    family = loaded.word("family")
    painter = _painter(family)
    if painter is None:
        known = ", ".join(row.family for row in table.class_painters())
        text = f"{counted(missing, 'class image')} missing, and only those of {known} can be painted"
        hint = "name a folder with enough pictures"
        yield error("dataset.class_images", text, where=where, hint=hint)
        return
    what = f"{counted(missing, 'class image')} of '{wanted.prompt}'"
    text = f"{what} will be painted first by {painter.script}, into {wanted.folder}"
    hint = "no time estimate: the base model is loaded once more, then 30 steps a picture"
    yield info("dataset.class_images", text, where=where, hint=hint)


def stages(plan: Plan) -> tuple[ClassPainting, ...]:
    """The processes to run before the training, in order; none where every picture is there."""
    if plan.command is None or plan.support is None or plan.request.practice:
        return ()
    made = (scan.source.made for scan in plan.scans)
    wanted = {images.folder: images for images in made if images is not None and images.missing()}
    painter = _painter(plan.support.family) if wanted else None
    if painter is None:
        return ()
    from kohya_runner.engines.painting import TrainingCommand, is_small

    python = str(plan.python.path) if plan.python else "python3"
    checkout, small = plan.checkout.root if plan.checkout else None, is_small(plan.gpus)
    training = TrainingCommand(plan.support.family, plan.args, plan.command, python, checkout, small_gpu=small)
    return tuple(painter.paint(training, images, images.folder / ".painting") for images in wanted.values())


def _painter(family: str) -> ClassPainter | None:
    return next((row for row in table.class_painters() if row.family == family), None)


def child_env(workspace: Workspace, environ: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """Caches into the workspace, output as the runner follows it; no secret: those stay in the shell's own.

    RunPod's images set ``HF_HUB_ENABLE_HF_TRANSFER=1``, with which the pinned huggingface_hub 0.34.3 fails where
    hf_transfer is not installed (file_download.py), so it is switched off.
    """
    env = workspace.environment() | child_environment() | {"HF_HUB_DISABLE_TELEMETRY": "1"}
    if environ.get("HF_HUB_ENABLE_HF_TRANSFER", "0") not in ("", "0"):
        env["HF_HUB_ENABLE_HF_TRANSFER"] = "0"
    if offline:
        env["HF_HUB_OFFLINE"] = "1"
    return env


def child_environment() -> dict[str, str]:
    """What the runner adds so that the output can be followed.

    Bars at most once a second (tqdm reads ``TQDM_*``), output at once, log records 160 columns wide, and UTF-8: the
    scripts print Japanese (train_network.py:1394), which another encoding would turn into a crash.
    """
    return {"COLUMNS": "160", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "1"}


@dataclass(frozen=True, slots=True)
class StageCommand:
    phase: str
    command: Command


def commands(opened: Opened, run: Assembled, *, on_cpu: bool) -> tuple[tuple[StageCommand, ...], Command]:
    resolved = run.resolved
    launch, script = resolved.recipe.launch, resolved.support.script
    engine = opened.engine.INFO
    offline = not isinstance(resolved.recipe.model, str)  # random weights: nothing is to be downloaded
    env = child_env(opened.workspace, opened.environ, offline=offline) | (CPU_MEMORY if on_cpu else {})
    needs = _needs(opened, resolved) - ({"hub"} if offline else set())
    stages = tuple(
        StageCommand(
            stage.phase, replace(_alone(opened, engine, stage.script, arguments.tokens(stage.args), env), needs=needs)
        )
        for stage in run.stages
    )
    tokens = arguments.tokens(resolved.args)
    if opened.request.practice:
        more = {"KOHYA_PRACTICE_PROCESSES": str(launch.world)} if launch.world > 1 else {}
        return stages, _alone(opened, engine, script, tokens, env | more)
    root, path = _script(opened, engine, script)
    python = opened.python.path if opened.python else Path("python3")
    place = opened.place if opened.place.machines > 1 else Rendezvous(launch.nodes or 1, address="MACHINE-0")
    precision = resolved.precision
    argv = arguments.argv(python, path, tokens, launch=launch, mixed_precision=precision, place=place)
    meeting = arguments.meeting(launch, place)
    return stages, arguments.Command(argv, root, {**env, **meeting, **_imports(opened, engine, root)}, needs)


UPLOADS = ("huggingface_repo_id", "resume_from_huggingface")


def _needs(opened: Opened, resolved: ResolvedRecipe) -> frozenset[str]:
    """Whose secrets the processes get: the Hub's where they ask it for something, those of a tracker that is on."""
    given = resolved.parsed.given
    online = opened.environ.get("HF_HUB_OFFLINE", "0") in ("", "0")
    tokenizers = online and resolved.support.tokenizers_of(given)  # they may be gated, and not all of their files here
    asks = resolved.models.kind == "hub" or any(given.get(name) for name in UPLOADS)
    hub = {"hub"} if asks or tokenizers else set()
    trackers = {str(given.get(name)) for name in ("log_with", "report_to")}
    return frozenset(hub | ({"wandb"} if trackers & {"wandb", "all"} else set()))


def _alone(opened: Opened, engine: EngineInfo, script: str, tokens: tuple[str, ...], env: Mapping[str, str]) -> Command:
    """One process without a launcher; the practice stand-in takes the same script and options."""
    if opened.request.practice:
        return arguments.Command((sys.executable, "-m", "kohya_runner.practice.trainer", script, *tokens), HERE, env)
    root, path = _script(opened, engine, script)
    python = str(opened.python.path) if opened.python else "python3"
    return arguments.Command((python, str(path), *tokens), root, {**env, **_imports(opened, engine, root)})


def _script(opened: Opened, engine: EngineInfo, script: str) -> tuple[Path, Path]:
    """The working folder and the script; without a checkout it is relative to that folder, wherever it will be."""
    from kohya_runner.engine_info import project_root

    checkout = opened.checkout
    root = checkout.root if checkout else (project_root() or Path.cwd()) / engine.submodule
    inside = Path(engine.script_path(script))
    return root, root / inside if checkout else inside


def _imports(opened: Opened, engine: EngineInfo, root: Path) -> dict[str, str]:
    """The engine's variables; a PYTHONPATH of the shell stays behind its own."""
    found = dict(engine.env(root))
    before = opened.environ.get("PYTHONPATH")
    if "PYTHONPATH" in found and before:
        found["PYTHONPATH"] += os.pathsep + before
    return found
