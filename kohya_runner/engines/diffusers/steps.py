"""How many batches, steps and checkpoints a run of diffusers' InstructPix2Pix examples has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.engines.steps_plan import MOST_CHECKPOINTS, MOST_STEPS, BucketCount, SaveEvent, SavePlan, StepsPlan
from kohya_runner.findings import error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.findings import Finding


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
        text = "not one step would be taken" if total < 1 else f"{total} steps, a checkpoint each {_each(length)}"
        return None, (error("steps.none" if total < 1 else "steps.endless", text),)
    return StepsPlan(
        images_per_epoch=samples, regularization_images=0, regularization_used=0, validation_images=0,
        batches_per_epoch=batches, steps_per_epoch=steps, epochs=math.ceil(total / steps), total=total,
        buckets=(BucketCount(length.resolution, length.resolution, samples, samples),),
        saves=_saves(length, total, final),
    ), ()  # fmt: skip


def _each(length: ExampleLength) -> str:
    return f"{length.checkpointing_steps} of them: more than anybody keeps"


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
