"""The part of a plan that is the InstructPix2Pix examples' own: an image folder, squares, no repeats but as rows.

The keys of its metadata.jsonl that end in ``_file_name`` become the columns that the scripts ask for by default:
input_image and edited_image (train_instruct_pix2pix.py:160-175). A dataset's repeats are as many rows: the scripts have
no other way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any

from kohya_runner.dataset.edit import EditSet
from kohya_runner.dataset.edit_layout import edit_folders, with_edits
from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.layout import Layout, plan_layout, tree_key
from kohya_runner.engines.arguments import Arg, StatedOption, option_arg
from kohya_runner.engines.diffusers import UNET
from kohya_runner.engines.protocol import Arranged, Planned, ResolvedRecipe
from kohya_runner.engines.steps_plan import MOST_CHECKPOINTS, MOST_STEPS, BucketCount, SaveEvent, SavePlan, StepsPlan
from kohya_runner.findings import Finding, error, warning
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.text import counted, names


@dataclass(frozen=True, slots=True)
class ExampleLength:
    """What decides the numbers: the scripts' options, under their names and with their defaults."""

    resolution: int = 256
    train_batch_size: int = 16
    gradient_accumulation_steps: int = 1
    num_train_epochs: int = 100
    max_train_steps: int | None = None
    max_train_samples: int | None = None
    checkpointing_steps: int = 500
    checkpoints_total_limit: int | None = None
    num_processes: int = 1


def plan_steps(rows: int, length: ExampleLength, final: str) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    """The numbers (train_instruct_pix2pix.py:740-801); None where the findings say why there are none.

    ``final``: the file that the run is judged by, below the output folder.
    """
    found = tuple(_problems(rows, length))
    if found:
        return None, found
    samples = min(rows, length.max_train_samples or rows)
    batches = math.ceil(math.ceil(samples / length.train_batch_size) / length.num_processes)
    steps = math.ceil(batches / length.gradient_accumulation_steps)
    total = length.num_train_epochs * steps if length.max_train_steps is None else length.max_train_steps
    if not 1 <= total <= MOST_STEPS or total // length.checkpointing_steps > MOST_CHECKPOINTS:
        many = f"{total} steps, a checkpoint each {length.checkpointing_steps} of them: more than anybody keeps"
        text = "not one step would be taken" if total < 1 else many
        return None, (error("steps.none" if total < 1 else "steps.endless", text),)
    return StepsPlan(
        images_per_epoch=samples, regularization_images=0, regularization_used=0, validation_images=0,
        batches_per_epoch=batches, steps_per_epoch=steps, epochs=math.ceil(total / steps), total=total,
        buckets=(BucketCount(length.resolution, length.resolution, samples, samples),),
        saves=_saves(length, total, final),
    ), ()  # fmt: skip


def _problems(rows: int, length: ExampleLength) -> Iterator[Finding]:
    """Numbers that the scripts divide by, or ask more of than there is."""
    for name in ("resolution", "train_batch_size", "gradient_accumulation_steps", "checkpointing_steps"):
        value = getattr(length, name)
        if value < 1:
            yield error(f"args.{name}", f"{name} is {value}: must be 1 or more")
    if length.max_train_samples is not None and not 1 <= length.max_train_samples <= rows:
        text = f"max_train_samples is {length.max_train_samples}, and there are {rows} rows"
        yield error("args.max_train_samples", text, hint="leave it out")


def _saves(length: ExampleLength, total: int, final: str) -> SavePlan:
    """Each checkpoint-N is a training state with the U-Net in it; the oldest goes before another is written."""
    every, limit = length.checkpointing_steps, length.checkpoints_total_limit
    steps = range(every, total + 1, every)
    folders = tuple(f"checkpoint-{step}" for step in steps)
    kept = folders if limit is None else folders[-max(1, limit) :]
    events: list[SaveEvent] = []
    for step in steps:
        outlived = 0 if limit is None else step - every * max(1, limit)
        if outlived > 0:
            events.append(SaveEvent("step", step, f"checkpoint-{outlived}", state=True, removed=True))
        events.append(SaveEvent("step", step, f"checkpoint-{step}", state=True))
    return SavePlan(
        checkpoints=(*(f"{folder}/{final}" for folder in folders), final),
        checkpoints_kept=(final,), most_checkpoints=1,
        states=folders, states_kept=kept, most_states=len(kept),
        events=(*events, SaveEvent("end", total, final)),
    )  # fmt: skip


FILES = (".safetensors", ".ckpt", ".pt", ".bin")
NAME = "metadata.jsonl"


def with_imagefolder(layout: Layout) -> Layout:
    """The layout of edit pairs with the file that lists them; its paths are relative to the tree."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _rows(layout))
    key = tree_key((*layout.folders, *layout.conditions), layout.settings_key, f"{layout.key}\0{text}")
    return replace(layout, metadata=text, metadata_name=NAME, key=key)


def _rows(layout: Layout) -> Iterator[dict[str, str]]:
    for folder in edit_folders(layout):
        inside = folder.target.parent.name
        for target, control in folder.pairs:
            row = {
                "input_image_file_name": f"{inside}/{folder.control.name}/{control.name}",
                "edited_image_file_name": f"{inside}/{folder.target.name}/{target.name}",
                "edit_prompt": target.image.caption.text if target.image.caption else "",
            }
            yield from (row for _ in range(folder.repeats))


def arrange(resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
    """The edit pairs and the file that lists them."""
    laid = plan_layout(scans, tree, "instruct_pix2pix")
    edits = tuple(pair for pair in resolved.pairs if isinstance(pair, EditSet))
    layout = with_edits(laid, edits) if edits else laid
    return Arranged(with_imagefolder(layout) if layout.edits else layout)


def steps(resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
    """The numbers; none without rows: the dataset's own findings say it."""
    rows = sum(folder.images * folder.repeats for folder in layout.folders)
    if not layout.edits or not rows:
        return None, ()
    length = {f.name: values[f.name] for f in fields(ExampleLength) if f.name in values}
    return plan_steps(rows, ExampleLength(**length, num_processes=resolved.recipe.launch.world), UNET)


def arguments(
    resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
) -> tuple[Arg, ...]:
    """Model, data and outputs; absolute, because the script joins its log folder to the output folder (:443)."""
    loaded, support, options = resolved.loaded, resolved.support, resolved.parsed.options
    stated: list[StatedOption] = [
        (support.model_option, resolved.models.base, loaded.where("model")),
        ("train_data_dir", str(arranged.layout.tree), loaded.where("datasets")),
        ("output_dir", str(run.output), "runner: the run's folder"),
        ("logging_dir", str(run.tensorboard), "runner: the run's folder"),
    ]
    unset = support.unset(resolved.parsed.given)
    stated += [(name, value, f"runner: {support.script}") for name, value in unset.items()]
    states = (option_arg(options, name, value, "runner: --resume needs states") for name, value in saving.items())
    return (*(option_arg(options, name, value, source) for name, value, source in stated), *resolved.args, *states)


def own_findings(resolved: ResolvedRecipe, layout: Layout, numbers: StepsPlan | None) -> Iterator[Finding]:
    """What stands against a run beside the rules between options."""
    loaded, model = resolved.loaded, resolved.models
    if model.kind == "hub_file" or PurePath(model.base).suffix in FILES:
        text = f"{resolved.support.script} takes a folder in diffusers' form or a Hub id, not the file {model.base}"
        hint = "write the Hub id, such as stable-diffusion-v1-5/stable-diffusion-v1-5, or save the file as a folder"
        yield error("model.form", text, where=loaded.where("model"), hint=hint)
    # both pictures are resized to a square, whatever their shape (train_instruct_pix2pix.py:416, _sdxl.py:476)
    odd = [e.image.path for folder in layout.folders for e in folder.entries if e.size[0] != e.size[1]]
    if odd:
        text = f"{counted(len(odd), 'picture')} not square, which the script squeezes to a square: {names(odd)}"
        hint = "cut or pad them to squares, input and output alike"
        yield warning("image.edit_squeezed", text, where=str(odd[0]) if len(odd) == 1 else "", hint=hint)
    if numbers is not None:
        yield from _last_batch(resolved, numbers)


FULL_BATCHES = ("train_instruct_pix2pix_sdxl.py",)
"""Scripts that stop at a batch that is not full."""


def _last_batch(resolved: ResolvedRecipe, steps: StepsPlan) -> Iterator[Finding]:
    """SDXL's size embeddings are made once for a whole batch (train_instruct_pix2pix_sdxl.py:899)."""
    batch = int(resolved.parsed.get("train_batch_size"))
    reached = steps.total >= steps.steps_per_epoch
    alone = resolved.recipe.launch.world == 1  # accelerate fills up the batches of several
    if resolved.support.script.endswith(FULL_BATCHES) and alone and reached and steps.images_per_epoch % batch:
        text = (
            f"{steps.images_per_epoch} rows in batches of {batch} leave {steps.images_per_epoch % batch} for the last, "
            "and the script stops at a batch that is not full (train_instruct_pix2pix_sdxl.py:899)"
        )
        whole = steps.images_per_epoch // batch * batch
        other = ", or another args.train_batch_size"
        hint = f"write args.max_train_samples: {whole}{other}" if whole else "write args.train_batch_size: 1"
        yield error("steps.last_batch", text, where=resolved.loaded.where("args", "train_batch_size"), hint=hint)
