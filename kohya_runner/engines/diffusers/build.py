"""The part of a plan that is the InstructPix2Pix examples' own: an image folder, squares, no repeats but as rows."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.trainer_view import Rules
from kohya_runner.dataset.tree.layout import plan_layout
from kohya_runner.engines import method_data
from kohya_runner.engines.arguments import Arg, cadence
from kohya_runner.engines.built import Built, Dialect
from kohya_runner.engines.diffusers.families import UNET
from kohya_runner.engines.diffusers.imagefolder import with_imagefolder
from kohya_runner.engines.diffusers.steps import Length, plan_steps
from kohya_runner.engines.rules.table import evaluate
from kohya_runner.engines.sd_scripts.build import context, with_args
from kohya_runner.findings import error, warning
from kohya_runner.options import values
from kohya_runner.plan import resume_options
from kohya_runner.record.numbering import next_run
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.text import counted, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.findings import Finding
    from kohya_runner.plan.draft import Draft, Known

FILES = (".safetensors", ".ckpt", ".pt", ".bin")


def build(draft: Draft, known: Known, scans: tuple[Scan, ...]) -> Built:
    """Layout, steps and options, for options and data that can be read."""
    recipe = known.recipe
    laid = plan_layout(scans, draft.workspace.datasets / recipe.name, "instruct_pix2pix")
    layout = method_data.arranged(laid, known.support, known.pairs)
    layout = with_imagefolder(layout) if layout.edits else layout
    series = resume_options.going_on(draft, known)
    run_dir = series.path if series else next_run(draft.workspace.runs / recipe.name)
    final = with_args(known, (*_by_runner(draft, known, layout, run_dir), *known.given))
    final = with_args(final, (*final.given, *_state_args(draft, final, layout)))
    steps, faults = _steps(final, layout)
    places = {f"args.{name}": draft.loaded.where("args", name) for name in known.settings.given}
    draft.findings += [replace(found, where=found.where or places.get(found.code, "")) for found in faults]
    draft.findings += evaluate(context(final, steps))
    draft.findings += _own_findings(draft, final, layout, steps)
    return resume_options.resumed(draft, Built(final, layout, steps, run_dir, series))


def _by_runner(draft: Draft, known: Known, layout: Layout, run_dir: Path) -> Iterator[Arg]:
    """Model, data and outputs; absolute, because the script joins its log folder to the output folder (:443)."""
    loaded, support, options = draft.loaded, known.support, known.settings.options
    wished: list[tuple[str, Any, str]] = [
        (support.model_option, known.models.base, loaded.where("model")),
        ("train_data_dir", str(layout.tree), loaded.where("datasets")),
        ("output_dir", str(RunPaths(run_dir).output), "runner: the run's folder"),
        ("logging_dir", str(RunPaths(run_dir).tensorboard), "runner: the run's folder"),
    ]
    wished += [
        (name, value, f"runner: {support.script}") for name, value in support.unset(known.settings.given).items()
    ]
    for name, value, source in wished:
        yield Arg(name, value, values.tokens(options[name], value), source)


def _state_args(draft: Draft, known: Known, layout: Layout) -> Iterator[Arg]:
    """A checkpoint-N with each epoch that is worth one, and how many are kept; what the recipe says goes first."""
    keep = resume_options.wanted(draft.loaded, asked=draft.request.resume)
    steps, _ = _steps(known, layout)
    if not keep or steps is None:
        return
    each = steps.steps_per_epoch * cadence(steps.epochs)
    for name, value in (("checkpointing_steps", each), ("checkpoints_total_limit", keep)):
        if known.settings.given.get(name) is None:
            source = "runner: --resume needs states"
            yield Arg(name, value, values.tokens(known.settings.options[name], value), source)


def _steps(known: Known, layout: Layout) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    rows = sum(folder.images * folder.repeats for folder in layout.folders)
    if not layout.edits or not rows:  # the dataset's own findings say it
        return None, ()
    stated = known.settings.all()
    length = {f.name: stated[f.name] for f in fields(Length) if f.name in stated}
    return plan_steps(rows, Length(**length, num_processes=known.recipe.launch.num_processes), UNET)


def _own_findings(draft: Draft, known: Known, layout: Layout, steps: StepsPlan | None) -> Iterator[Finding]:
    loaded, model = draft.loaded, known.models
    if model.kind == "hub_file" or PurePath(model.base).suffix in FILES:
        text = f"{known.support.script} takes a folder in diffusers' form or a Hub id, not the file {model.base}"
        hint = "write the Hub id, such as stable-diffusion-v1-5/stable-diffusion-v1-5, or save the file as a folder"
        yield error("model.form", text, where=loaded.where("model"), hint=hint)
    yield from _squeezed(layout)
    if steps is not None:
        yield from _last_batch(draft, known, steps)


def _squeezed(layout: Layout) -> Iterator[Finding]:
    """Both pictures are resized to a square, whatever their shape (train_instruct_pix2pix.py:416, _sdxl.py:476)."""
    odd = [e.image.path for folder in layout.folders for e in folder.entries if e.size[0] != e.size[1]]
    if odd:
        text = f"{counted(len(odd), 'picture')} not square, which the script squeezes to a square: {names(odd)}"
        hint = "cut or pad them to squares, input and output alike"
        yield warning("image.edit_squeezed", text, where=str(odd[0]) if len(odd) == 1 else "", hint=hint)


FULL_BATCHES = ("train_instruct_pix2pix_sdxl.py",)
"""Scripts that stop at a batch that is not full."""


def _last_batch(draft: Draft, known: Known, steps: StepsPlan) -> Iterator[Finding]:
    """SDXL's size embeddings are made once for a whole batch (train_instruct_pix2pix_sdxl.py:899)."""
    batch = int(known.settings.get("train_batch_size"))
    reached = steps.total >= steps.steps_per_epoch
    alone = known.recipe.launch.num_processes == 1  # accelerate fills up the batches of several
    if known.support.script.endswith(FULL_BATCHES) and alone and reached and steps.images_per_epoch % batch:
        text = (
            f"{steps.images_per_epoch} rows in batches of {batch} leave {steps.images_per_epoch % batch} for the last, "
            "and the script stops at a batch that is not full (train_instruct_pix2pix_sdxl.py:899)"
        )
        whole = steps.images_per_epoch // batch * batch
        hint = (
            f"write max_train_samples: {whole}, or another train_batch_size" if whole else "write train_batch_size: 1"
        )
        yield error("steps.last_batch", text, where=draft.loaded.where("args", "train_batch_size"), hint=hint)


DIALECT = Dialect(picture_rules=lambda *_: Rules(takes_interpolation=False), can_build=lambda *_: True, build=build)
