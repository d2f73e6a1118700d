"""The practice stand-in for diffusers' InstructPix2Pix examples: their lines, their folders."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.safetensors_header import PRACTICE
from kohya_runner.engines.diffusers import CHANNELS, UNET, DiffusersEngine
from kohya_runner.engines.diffusers.build import NAME, ExampleLength, plan_steps
from kohya_runner.engines.steps_plan import SaveEvent
from kohya_runner.engines.support import way_of
from kohya_runner.practice.faults import Faults
from kohya_runner.practice.files import DTYPES, MARK, NAN, NUMBER, safetensors, write_accelerate_state
from kohya_runner.practice.loop import WORDS, SettingsError, StandIn, Start
from kohya_runner.practice.sd_scripts import PROCESSES

if TYPE_CHECKING:
    import argparse

TENSORS = (("conv_in.weight", (8, CHANNELS, 3, 3)), ("conv_out.weight", (4, 8, 3, 3)))


def prepare(args: argparse.Namespace, script: str, faults: Faults) -> StandIn:
    faults.prepare()
    record("Initializing the InstructPix2Pix UNet from the pretrained UNet.")
    text = (Path(args.train_data_dir) / NAME).read_text(encoding="utf-8")
    rows = sum(1 for line in text.splitlines() if json.loads(line))
    stated = {f.name: getattr(args, f.name) for f in fields(ExampleLength) if hasattr(args, f.name)}
    plan, found = plan_steps(rows, ExampleLength(**stated, num_processes=int(os.environ.get(PROCESSES, "1"))), UNET)
    if plan is None:
        raise SettingsError("; ".join(finding.message for finding in found))
    return Diffusers(args, script, plan, faults)


def record(text: str) -> None:
    """A log record as logging.basicConfig of the scripts lays it out (train_instruct_pix2pix.py:460)."""
    sys.stderr.write(f"{time.strftime('%m/%d/%Y %H:%M:%S')} - INFO - __main__ - {text}\n")
    sys.stderr.flush()


class Diffusers(StandIn):
    """A state now and then, with the U-Net in it, and the pipeline at the end (train_instruct_pix2pix.py:809-969)."""

    label = "Steps"
    closes_bar = True
    numbers = tuple(WORDS["diffusers"])

    def announce(self) -> None:
        record("***** Running training *****")
        for line in self.numbers:
            record("  " + line.format(args=self.args, plan=self.plan))

    def start(self) -> Start:
        """The step that the folder's name says (:838); what is said of the bar is in engines/support.py."""
        if not self.args.resume_from_checkpoint:
            return Start()
        name = Path(self.args.resume_from_checkpoint).name
        sys.stdout.write(f"Resuming from checkpoint {name}\n")
        done, each = int(name.split("-")[1]), self.plan.steps_per_epoch
        way = way_of(vars(self.args), DiffusersEngine.RESUME_WAYS)
        drawn = done - (way.bar_offset(done, each) if way else 0)
        length = self.plan.total if way and way.bar == "on" else None
        return Start(done // each, done % each, done, drawn, length)

    def epoch(self, number: int) -> None:
        """Nothing is said of it."""

    def postfix(self, loss: float) -> str:
        return f"lr={self.args.learning_rate}, step_loss={loss:.3g}"

    def save(self, event: SaveEvent, epoch: int, step: int, *, nan: bool) -> None:  # noqa: ARG002 - no numbers in them
        """The event of the pipeline names its U-Net, that of a state the folder."""
        path = self.output / event.name
        if event.removed:
            shutil.rmtree(path, ignore_errors=True)
            return
        weights = path / UNET if event.state else path
        weights.parent.mkdir(parents=True, exist_ok=True)
        fill = NAN if nan else NUMBER
        weights.write_bytes(safetensors(iter(TENSORS), {PRACTICE: MARK}, DTYPES["float"], lambda _: fill))
        if event.state:
            write_accelerate_state(path)
            record(f"Saved state to {path}")

    def saved(self) -> None:
        """Nothing is said of it."""
