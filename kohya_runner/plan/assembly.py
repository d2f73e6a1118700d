"""The fourth stage of a plan: folders, numbers, saves, options and earlier stages, whichever the engine is.

Run numbering, resuming and the cadence of saves are decided here, once; what differs is asked of the engine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.tree.layout import content_key
from kohya_runner.engines.protocol import ResolvedRecipe
from kohya_runner.plan import resume_options
from kohya_runner.record.run_paths import RunPaths, next_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.arguments import Arg
    from kohya_runner.engines.protocol import Arranged, EarlierStage, Engine
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.plan.data import ReadData
    from kohya_runner.plan.opening import Opened
    from kohya_runner.plan.options import GivenOptions
    from kohya_runner.recipe.models import Recipe
    from kohya_runner.record.resume_point import ResumePoint
    from kohya_runner.workspace import Workspace

RESUMING = ("save_state", "save_last_n_epochs_state", "checkpointing_steps", "checkpoints_total_limit")
"""Options that ``--resume`` adds: they change nothing of what is trained."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A run, decided but for the machine. ``series`` is the run that goes on.

    ``begun`` are the options as they would be if the run began now.
    """

    resolved: ResolvedRecipe
    arranged: Arranged
    steps: StepsPlan | None
    run_dir: Path
    series: ResumePoint | None
    begun: tuple[Arg, ...]
    stages: tuple[EarlierStage, ...]
    fingerprint: str
    findings: tuple[Finding, ...]


def assemble(opened: Opened, given: GivenOptions, data: ReadData, recipe: Recipe, support: Support) -> Assembled:
    """All of it, for options and data that could be read."""
    engine, room = opened.engine, opened.workspace
    resolved = ResolvedRecipe(opened.loaded, recipe, support, given.parsed, given.models, given.args, data.pairs)
    arranged = engine.arrange(resolved, data.scans, room.datasets / recipe.name)
    states = resume_options.wanted(opened.loaded, asked=opened.request.resume)
    steps, counted, saving = _numbers(engine, resolved, arranged.layout, states)
    series = resume_options.going_on(opened, given, recipe.name)
    run_dir = series.path if series else next_run(room.runs / recipe.name)
    whole = resolved.with_args(engine.arguments(resolved, arranged, RunPaths(run_dir), saving))
    stages = engine.stages(whole, arranged)
    found = [*arranged.findings, *counted, *engine.findings(whole, arranged, steps)]
    options, asked = whole.parsed.options, opened.request.resume
    found += resume_options.unreadable(opened, given, recipe.name)
    found += resume_options.findings(opened.loaded, engine, options, recipe.args, steps, asked=asked)
    final = whole
    if series is not None and steps is not None:
        final, changed = _resumed(opened, whole, arranged, series, steps)
        found += changed
    final = replace(final, parsed=engine.largest(final.parsed, arranged.layout))
    every = (*(arg for stage in stages for arg in stage.args), *whole.args)
    mark = fingerprint(every, arranged, opened, room)
    return Assembled(final, arranged, steps, run_dir, series, whole.args, stages, mark, tuple(found))


def _numbers(
    engine: Engine, resolved: ResolvedRecipe, layout: Layout, states: int
) -> tuple[StepsPlan | None, tuple[Finding, ...], Mapping[str, Any]]:
    """The numbers, and the runner's own save options: either depends on the other."""
    values = resolved.parsed.all() | resolved.support.unset(resolved.parsed.given)
    saving = engine.save_options(resolved, None, states)
    steps, found = engine.steps(resolved, layout, {**values, **saving})
    final = engine.save_options(resolved, steps, states)
    if final != saving:
        steps, found = engine.steps(resolved, layout, {**values, **final})
    if not layout.folders:  # without pictures the dataset's own findings say it
        return steps, (), final
    places = {f"args.{name}": resolved.loaded.where("args", name) for name in resolved.parsed.given}
    return steps, tuple(f if f.where else replace(f, where=places.get(f.code, "")) for f in found), final


def _resumed(
    opened: Opened, whole: ResolvedRecipe, arranged: Arranged, series: ResumePoint, steps: StepsPlan
) -> tuple[ResolvedRecipe, tuple[Finding, ...]]:
    """The run as it goes on, and what is no longer as it was."""
    from kohya_runner.plan.resume_drift import Now, changes

    now = Now(opened.loaded, whole.args, arranged.layout, steps, opened.checkout, opened.workspace.runs)
    processes = whole.recipe.launch.num_processes
    args = resume_options.resume_args(whole.parsed, whole.args, series, steps, processes)
    return whole.with_args(args), changes(series, now)


def fingerprint(args: Iterable[Arg], arranged: Arranged, opened: Opened, room: Workspace) -> str:
    """What makes two launches the same run: options, data, trainer; not where the workspace and its folders are."""
    moving = {"output_dir", "logging_dir", "train_data_dir", "reg_data_dir", "dataset_config", *RESUMING}
    tokens = (token for arg in args if arg.name not in moving for token in arg.tokens)
    said = (*tokens, *(file.text for file in arranged.files))
    still = [text.replace(f"{room.root}/", "").replace(arranged.layout.key, "") for text in said]
    commit = opened.checkout.commit if opened.checkout else None
    text = json.dumps([still, content_key(arranged.layout), commit, opened.request.practice])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
