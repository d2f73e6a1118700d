"""The practice stand-in for diffusers' InstructPix2Pix examples: their lines, their folders, nothing trained."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.safetensors_header import PRACTICE
from kohya_runner.engines.diffusers.families import CHANNELS, UNET
from kohya_runner.engines.diffusers.imagefolder import NAME
from kohya_runner.engines.diffusers.steps import Length, plan_steps
from kohya_runner.engines.resume_ways import way_of
from kohya_runner.practice.data import PROCESSES
from kohya_runner.practice.faults import DEFAULT_STEP_SECONDS, STEP_SECONDS
from kohya_runner.practice.files import DTYPES, MARK, NAN, NUMBER, safetensors, write_zip
from kohya_runner.practice.screen import BANNER, Bar, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.practice.faults import Faults

TENSORS = (("conv_in.weight", (8, CHANNELS, 3, 3)), ("conv_out.weight", (4, 8, 3, 3)))


def train(args: argparse.Namespace, faults: Faults, environ: Mapping[str, str]) -> int:
    """Count the rows, draw the bar, write a state now and then and the pipeline at the end."""
    faults.prepare()
    record("Initializing the InstructPix2Pix UNet from the pretrained UNet.")
    text = (Path(args.train_data_dir) / NAME).read_text(encoding="utf-8")
    rows = sum(1 for line in text.splitlines() if json.loads(line))
    stated = {f.name: getattr(args, f.name) for f in fields(Length) if hasattr(args, f.name)}
    plan, found = plan_steps(rows, Length(**stated, num_processes=int(environ.get(PROCESSES, "1"))), UNET)
    if plan is None:
        sys.stderr.write("".join(f"{finding.message}\n" for finding in found))
        return 1
    _announce(args, plan)
    _loop(args, plan, faults, pace=float(environ.get(STEP_SECONDS, DEFAULT_STEP_SECONDS)))
    if "no-file" not in faults.plain:
        _write(Path(args.output_dir), nan=faults.nan_weights(plan.total))
    say(BANNER)
    return 0


def record(text: str) -> None:
    """A log record as logging.basicConfig of the scripts lays it out (train_instruct_pix2pix.py:460)."""
    sys.stderr.write(f"{time.strftime('%m/%d/%Y %H:%M:%S')} - INFO - __main__ - {text}\n")
    sys.stderr.flush()


def _announce(args: argparse.Namespace, plan: StepsPlan) -> None:
    """train_instruct_pix2pix.py:809-815."""
    record("***** Running training *****")
    record(f"  Num examples = {plan.images_per_epoch}")
    record(f"  Num Epochs = {plan.epochs}")
    record(f"  Instantaneous batch size per device = {args.train_batch_size}")
    record(f"  Gradient Accumulation steps = {args.gradient_accumulation_steps}")
    record(f"  Total optimization steps = {plan.total}")


def _loop(args: argparse.Namespace, plan: StepsPlan, faults: Faults, *, pace: float) -> None:
    """train_instruct_pix2pix.py:820-969, _sdxl.py:921; what is said of the bar is in engines/resume_ways.py."""
    output, done, way = Path(args.output_dir), _done(args), way_of(vars(args))
    offset = way.bar_offset(done, plan.steps_per_epoch) if way else 0
    bar = Bar(plan.total if way and way.bar == "on" else plan.total - done, "Steps")
    for step in range(done + 1, plan.total + 1):
        time.sleep(pace)
        faults.strike(step)
        loss = faults.loss(step, 0.05 + 0.1 / math.sqrt(step))
        bar.draw(step - offset, f"lr={args.learning_rate}, step_loss={loss:.3g}")
        if step % args.checkpointing_steps == 0:
            for old in _surplus(output, args.checkpoints_total_limit):
                shutil.rmtree(old)
            _write(output / f"checkpoint-{step}", nan=faults.nan_weights(step))
            _write_state(output / f"checkpoint-{step}")
            record(f"Saved state to {output / f'checkpoint-{step}'}")
    bar.close()


def _done(args: argparse.Namespace) -> int:
    """The step that the folder's name says (train_instruct_pix2pix.py:838)."""
    if not args.resume_from_checkpoint:
        return 0
    name = Path(args.resume_from_checkpoint).name
    sys.stdout.write(f"Resuming from checkpoint {name}\n")
    return int(name.split("-")[1])


def _write_state(folder: Path) -> None:
    """What accelerate adds to the weights, the random states last."""
    for name in ("optimizer.bin", "scheduler.bin"):
        write_zip(folder / name)
    (folder / "random_states_0.pkl").write_text(f"{MARK}\n", encoding="utf-8")


def _surplus(output: Path, limit: int | None) -> list[Path]:
    """The oldest, so that one more makes the limit."""
    found = sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return [] if limit is None else found[: max(0, len(found) - limit + 1)]


def _write(folder: Path, *, nan: bool) -> None:
    path = folder / UNET
    path.parent.mkdir(parents=True, exist_ok=True)
    fill = NAN if nan else NUMBER
    path.write_bytes(safetensors(iter(TENSORS), {PRACTICE: MARK}, DTYPES["float"], lambda _: fill))
