"""The practice trainer's loop over epochs and steps, with the saves, states and resumption of the trainer's own."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.practice.files import remove
from kohya_runner.practice.screen import BANNER, Bar, log, say

if TYPE_CHECKING:
    import argparse

    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.practice.faults import Faults
    from kohya_runner.practice.files import Writer


class Loop:
    """One run from its first epoch, or from where a state leaves off, to its last file."""

    def __init__(
        self, args: argparse.Namespace, plan: StepsPlan, writer: Writer, faults: Faults, *, pace: float
    ) -> None:
        """``pace`` is the time of a step, in seconds."""
        self._args, self._plan, self._writer, self._faults, self._pace = args, plan, writer, faults, pace
        self._output = Path(args.output_dir)
        self._name = args.output_name
        self._every = _every_n_epochs(args, plan.epochs)
        self._first_epoch, self._skipped, self._step = _start(args, plan)

    def run(self) -> None:
        """Train nothing, epoch after epoch (train_network.py:1357-1729)."""
        self._bar = Bar(self._plan.total - self._step, "steps")
        self._drawn = 0
        for epoch in range(self._first_epoch, self._plan.epochs):
            say(f"\nepoch {epoch + 1}/{self._plan.epochs}\n")
            say(BANNER)
            log(f"epoch is incremented. current_epoch: {epoch}, epoch: {epoch + 1}")
            self._epoch(epoch + 1)
            if self._every and (epoch + 1) % self._every == 0 and epoch + 1 < self._plan.epochs:
                self._save_epoch(epoch + 1)
        self._finish()

    def _epoch(self, epoch: int) -> None:
        steps, self._skipped = self._plan.steps_per_epoch - self._skipped, 0
        for _ in range(steps):
            if self._step >= self._plan.total:
                return
            time.sleep(self._pace)
            self._faults.strike(self._step + 1)
            self._step += 1
            self._drawn += 1
            loss = self._faults.loss(self._step, 0.05 + 0.1 / math.sqrt(self._step))
            self._bar.draw(self._drawn, f"avr_loss={loss:.3g}")
            every = self._args.save_every_n_steps
            if every is not None and self._step % every == 0:
                self._save_step(epoch, every)

    def _save_step(self, epoch: int, every: int) -> None:
        """train_network.py:1497-1510; library/train_util.py:5796 and :5960."""
        args, prefix = self._args, self._name or "at"
        self._save(f"{prefix}-step{self._step:08d}", epoch - 1)
        if args.save_state:
            log(f"saving state at step {self._step}")
            self._save_state(f"{prefix}-step{self._step:08d}-state", epoch)
            keep = args.save_last_n_steps_state or args.save_last_n_steps
            if keep is not None:
                self._remove_state(f"{prefix}-step{_outlived(self._step, keep, every):08d}-state")
        if args.save_last_n_steps is not None:
            self._remove(f"{prefix}-step{_outlived(self._step, args.save_last_n_steps, every):08d}")

    def _save_epoch(self, epoch: int) -> None:
        """train_network.py:1693-1706; library/train_util.py:5786 and :5938."""
        args, prefix, every = self._args, self._name or "epoch", self._every or 1
        self._save(f"{prefix}-{epoch:06d}", epoch)
        if args.save_last_n_epochs is not None:
            self._remove(f"{prefix}-{epoch - every * args.save_last_n_epochs:06d}")
        if args.save_state:
            log(f"saving state at epoch {epoch}")
            self._save_state(f"{prefix}-{epoch:06d}-state", epoch)
            keep = args.save_last_n_epochs_state or args.save_last_n_epochs
            if keep is not None:
                self._remove_state(f"{prefix}-{epoch - every * keep:06d}-state")

    def _finish(self) -> None:
        """train_network.py:1718-1729."""
        name = self._name or "last"
        if self._args.save_state or self._args.save_state_on_train_end:
            log("saving last state.")
            self._save_state(f"{name}-state", self._plan.epochs)
        if "no-file" in self._faults.plain:
            return
        final = self._save(name, self._plan.epochs)
        if self._faults.plain & {"truncate", "half-file"}:
            with final.open("r+b") as file:
                file.truncate(final.stat().st_size * 2 // 3)
        if "half-file" in self._faults.plain:
            os.kill(os.getpid(), signal.SIGKILL)
        log("model saved.")

    def _save(self, stem: str, epoch: int) -> Path:
        path = self._output / f"{stem}.{self._args.save_model_as or 'safetensors'}"
        say(f"\nsaving checkpoint: {path}")
        self._writer.save(path, epoch, self._step, nan=self._faults.nan_weights(self._step))
        return path

    def _save_state(self, name: str, epoch: int) -> None:
        nan = self._faults.nan_weights(self._step)
        self._writer.save_state(self._output / name, epoch, self._step, nan=nan)

    def _remove(self, stem: str) -> None:
        path = self._output / f"{stem}.{self._args.save_model_as or 'safetensors'}"
        if path.exists():
            say(f"removing old checkpoint: {path}")
            remove(path)

    def _remove_state(self, name: str) -> None:
        if (self._output / name).exists():
            log(f"removing old state: {self._output / name}")
            remove(self._output / name)


def _every_n_epochs(args: argparse.Namespace, epochs: int) -> int | None:
    """train_network.py:980."""
    ratio = args.save_n_epoch_ratio
    if ratio is not None and ratio > 0:
        return math.floor(epochs / ratio) or 1
    return None if args.save_every_n_epochs is None else int(args.save_every_n_epochs)


def _outlived(step: int, keep: int, every: int) -> int:
    before = step - keep - 1
    return int(before - before % every)


def _start(args: argparse.Namespace, plan: StepsPlan) -> tuple[int, int, int]:
    """The first epoch (from 0), the steps skipped in it, and the step count to begin with.

    A script without ``initial_step`` counts what it was asked for, whatever was done before.
    train_network.py:1233-1272 and :1340-1344. Without ``skip_until_initial_step`` the epoch of the state begins
    anew and the count of steps at 0; with it the count begins inside the epoch.
    """
    initial = _initial_step(args, plan)
    if not initial:
        return 0, 0, 0
    if plan.total <= initial:
        sys.stderr.write("AssertionError: max_train_steps should be greater than initial step / ")
        sys.exit(f"max_train_stepsは初期ステップより大きい必要があります: {plan.total} vs {initial}")
    if not getattr(args, "skip_until_initial_step", False):
        return initial // plan.steps_per_epoch, 0, 0
    log(f"skipping {initial} steps / {initial}ステップをスキップします")
    batches = initial * args.gradient_accumulation_steps
    epoch = batches // plan.steps_per_epoch
    left = batches - epoch * plan.batches_per_epoch
    return epoch, max(left, 0) // args.gradient_accumulation_steps, left


def _initial_step(args: argparse.Namespace, plan: StepsPlan) -> int:
    if not hasattr(args, "initial_step"):
        return 0
    step, epoch = args.initial_step, getattr(args, "initial_epoch", None)
    if step is not None:
        return int(step)
    if epoch is not None:
        return (int(epoch) - 1) * plan.steps_per_epoch
    if not args.resume:
        return 0
    state = Path(args.resume) / "train_state.json"
    log(f"load train state from {state}")
    return int(json.loads(state.read_text(encoding="utf-8"))["current_step"]) if state.exists() else 0
