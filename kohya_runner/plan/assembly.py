"""The fourth stage of a plan: folders, numbers, saves, options and earlier stages, whichever the engine is.

Run numbering, resuming and the cadence of saves are decided here, once; what differs is asked of the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.layout import Layout, content_key
from kohya_runner.engines.arguments import Arg
from kohya_runner.engines.protocol import Arranged, EarlierStage, Engine, Fetch, Models, ResolvedRecipe
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.engines.support import Support
from kohya_runner.errors import RecipeError
from kohya_runner.findings import Finding, error
from kohya_runner.plan import resume_options
from kohya_runner.plan.data import ReadData
from kohya_runner.plan.model_forms import form_findings
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import Recipe, Reference, reference
from kohya_runner.record.run_paths import RunPaths, next_run
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.plan.options import GivenOptions
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.record.resume_point import ResumePoint


@dataclass(slots=True)
class _Search:
    """References being resolved, what must be fetched for them, and what is wrong."""

    support: Support
    workspace: Workspace
    look: bool
    fetches: list[Fetch] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def located(self, ref: Reference, what: str) -> str:
        """What the trainer is given for a reference; a file of the Hub joins the fetches."""
        if ref.kind == "hub_file":
            return self._fetched(ref)
        if ref.kind == "random":
            from kohya_runner.install.random_model import random_model_paths

            return str(random_model_paths(ref.text, self.workspace.models).checkpoint)
        if ref.path is None:
            return ref.text
        if self.look or os.path.exists(ref.path):
            from kohya_runner.artefact.model_file import LocalModel, model_findings

            found = model_findings(LocalModel(ref.path, what, self.support.family, ref.where))
            self.findings += [one for one in found if self.look or one.code != "model.symlink"]
        return str(ref.path)

    def _fetched(self, ref: Reference) -> str:
        from kohya_runner.machine.downloads import local_path, parse_ref

        try:
            file = parse_ref(ref.text, ref.where)
        except RecipeError as fault:
            self.findings += fault.findings
            return ref.text
        if file.path.lower().endswith(".gguf"):
            message = f"{ref.text} is a GGUF file, weights packed for inference, which no trainer here reads"
            hint = "take the .safetensors file of the same model in bf16, fp16 or fp8"
            self.findings.append(error("model.format", message, where=ref.where, hint=hint))
        target = local_path(file, self.workspace.models)
        self.fetches.append(Fetch(file, target))
        return str(target)


def find_models(loaded: Loaded, support: Support, workspace: Workspace, *, look: bool) -> Models:
    """Resolve ``model`` and ``components``. Without ``look`` a file may be on another machine alone."""
    recipe = loaded.recipe
    assert recipe is not None  # noqa: S101 - planned with a whole recipe
    search = _Search(support, workspace, look)
    base = reference(loaded, recipe.model, "model")
    located = search.located(base, "model")
    known = {one.name for one in support.components}
    components = {
        name: workspace.root / search.located(reference(loaded, value, "components", name), name)
        for name, value in recipe.components.items()
        if name in known
    }
    tokenizers = None
    if base.kind == "random":
        from kohya_runner.install.random_model import random_model_paths

        tokenizers = random_model_paths(base.text, workspace.models).tokenizers
    forms = form_findings(loaded, support)
    told = {one.where for one in forms}  # a file that is another family's, or no file, is not looked for
    findings = (*forms, *(one for one in search.findings if one.where not in told))
    return Models(located, base.kind, components, tuple(search.fetches), tokenizers, findings)


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
    engine, room = opened.engine, opened.workspace
    resolved = ResolvedRecipe(opened.loaded, recipe, support, given.parsed, given.models, given.args, data.pairs)
    arranged = engine.arrange(resolved, data.scans, room.datasets / (opened.request.shared or recipe.name))
    states = resume_options.wanted(opened.loaded, asked=opened.request.resume)
    steps, counted, saving = _numbers(engine, resolved, arranged.layout, states)
    series, unread = resume_options.going_on(opened, given, recipe.name)
    run_dir = series.path if series else next_run(room.runs / recipe.name)
    whole = resolved.with_args(engine.arguments(resolved, arranged, RunPaths(run_dir), saving))
    stages = engine.stages(whole, arranged)
    found = [*arranged.findings, *counted, *engine.findings(whole, arranged, steps)]
    options, asked = whole.parsed.options, opened.request.resume
    found += unread
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
    processes = whole.recipe.launch.world
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
