"""One practice run: epochs and steps in which nothing is trained, and the saves of the plan in their order."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines.steps_plan import SaveEvent, StepsPlan
from kohya_runner.practice.faults import Faults
from kohya_runner.practice.files import MARK, Writer
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    import argparse

WORDS = read_table(Path(__file__).with_name("words.toml"))
BANNER = "PRACTICE: this is kohya-runner's stand-in for the trainer. Nothing is trained."
_COLUMNS = 160
_CELLS = 10


def say(text: str) -> None:
    """A line of the script itself: accelerator.print, on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def log(text: str, level: str = "INFO") -> None:
    """A log record as rich lays it out (library/utils.py:66): on stderr, in columns. The place says what prints it."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level:<8} {text}"
    place = "PRACTICE.py:1"
    sys.stderr.write(f"{line:<{_COLUMNS - len(place) - 1}} {place}\n")
    sys.stderr.flush()


class Bar:
    """A bar as tqdm draws it where there is no terminal."""

    def __init__(self, total: int, label: str = "") -> None:
        self._total = total
        self._label = f"{label}: " if label else ""
        self._started = time.monotonic()
        self.draw(0)

    def draw(self, done: int, postfix: str = "") -> None:
        elapsed = time.monotonic() - self._started
        share = done / self._total if self._total else 1.0
        cells = "█" * int(share * _CELLS)
        left, rate = "?", "?it/s"
        if done:
            pace = elapsed / done
            left = _clock(pace * (self._total - done))
            rate = f"{pace:5.2f}s/it" if pace > 1 else f"{1 / max(pace, 1e-9):5.2f}it/s"
        after = f", {postfix}" if postfix else ""
        drawn = f"{share * 100:3.0f}%|{cells:<{_CELLS}}| {done}/{self._total} [{_clock(elapsed)}<{left}, {rate}{after}]"
        sys.stderr.write(f"\r{self._label}{drawn}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


class SettingsError(Exception):
    """The trainer would end with an AssertionError here."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins: in which epoch (from 0), after how many of its steps, and with which numbers."""

    epoch: int = 0
    skipped: int = 0
    step: int = 0
    drawn: int = 0  # the bar's number
    length: int | None = None  # the bar's length, if it is not the steps that are left


class StandIn:
    """What the loop asks of a trainer. kohya's two print the same lines; diffusers' examples have their own."""

    label = "steps"
    closes_bar = False
    numbers: tuple[str, ...] = ()  # what is said of the plan before the first step

    def __init__(self, args: argparse.Namespace, script: str, plan: StepsPlan, faults: Faults) -> None:
        self.args, self.plan = args, plan
        self.output = Path(args.output_dir)
        self.writer = Writer(
            args, script, _metadata(args, plan), faults.seconds.get("slow-save", 0.0), "zero-weights" in faults.plain
        )

    def announce(self) -> None:
        """train_network.py:1210 and :1394-1407; musubi-tuner's training/trainer_base.py:1655-1830."""
        args, total = self.args, self.plan.total
        if args.max_train_epochs is not None:
            say(f"override steps. steps for {args.max_train_epochs} epochs is / 指定エポックまでのステップ数: {total}")
        if args.resume:
            log(f"resume training from local state: {args.resume}")
        say("running training / 学習開始")
        for line in self.numbers:
            say("  " + line.format(args=args, plan=self.plan))

    def start(self) -> Start:
        """A script without ``initial_step`` counts what it was asked for, whatever was done before."""
        return _resumed(self.args, self.plan)

    def epoch(self, number: int) -> None:
        """An epoch begins (train_network.py:1529)."""
        say(f"\nepoch {number}/{self.plan.epochs}\n")
        say(BANNER)
        log(f"epoch is incremented. current_epoch: {number - 1}, epoch: {number}")

    def postfix(self, loss: float) -> str:
        return f"avr_loss={loss:.3g}"

    def save(self, event: SaveEvent, epoch: int, step: int, *, nan: bool) -> None:
        """Write or remove one file or state (train_network.py:1669-1690 and :1810-1863)."""
        path = self.output / event.name
        if event.removed:
            if path.exists():
                what, tell = ("state", log) if event.state else ("checkpoint", say)
                tell(f"removing old {what}: {path}")
                (shutil.rmtree if event.state else os.unlink)(path)
        elif event.state:
            log("saving last state." if event.after == "end" else f"saving state at {event.after} {event.number}")
            self.writer.save_state(path, epoch, step, nan=nan)
        else:
            say(f"\nsaving checkpoint: {path}")
            self.writer.save(path, epoch - (event.after == "step"), step, nan=nan)

    def saved(self) -> None:
        log("model saved.")


def run(trainer: StandIn, faults: Faults, *, pace: float) -> None:
    """Train nothing, epoch after epoch; ``pace`` is the time of a step, in seconds."""
    plan, start = trainer.plan, trainer.start()
    events: dict[tuple[str, int], list[SaveEvent]] = defaultdict(list)
    for event in plan.saves.events:
        events[event.after, event.number].append(event)
    bar = Bar(plan.total - start.step if start.length is None else start.length, trainer.label)
    step, drawn, first = start.step, start.drawn, start.skipped
    for epoch in range(start.epoch + 1, plan.epochs + 1):
        trainer.epoch(epoch)
        for _ in range(min(plan.steps_per_epoch - first, plan.total - step)):
            time.sleep(pace)
            faults.strike(step + 1)
            step, drawn = step + 1, drawn + 1
            bar.draw(drawn, trainer.postfix(faults.loss(step, 0.05 + 0.1 / math.sqrt(step))))
            for event in events["step", step]:
                trainer.save(event, epoch, step, nan=faults.nan_weights(step))
        for event in events["epoch", epoch]:
            trainer.save(event, epoch, step, nan=faults.nan_weights(step))
        first = 0
    if trainer.closes_bar:
        bar.close()
    _end(trainer, faults, step)


def _end(trainer: StandIn, faults: Faults, step: int) -> None:
    """The last state and file, or what a fault makes of them."""
    for event in (event for event in trainer.plan.saves.events if event.after == "end"):
        if not event.state and "no-file" in faults.plain:
            return
        trainer.save(event, trainer.plan.epochs, step, nan=faults.nan_weights(step))
        if not event.state and faults.plain & {"truncate", "half-file"}:
            path = trainer.output / event.name
            os.truncate(path, path.stat().st_size * 2 // 3)
        if not event.state and "half-file" in faults.plain:
            os.kill(os.getpid(), signal.SIGKILL)
    trainer.saved()


def _resumed(args: argparse.Namespace, plan: StepsPlan) -> Start:
    """train_network.py:1429-1468 and :1512-1516.

    Without ``skip_until_initial_step`` the epoch of the state begins anew and the count of steps at 0; with it the
    count begins inside the epoch.
    """
    initial = _initial_step(args, plan)
    if not initial:
        return Start()
    if plan.total <= initial:
        japanese = "max_train_stepsは初期ステップより大きい必要があります"
        numbers = f"{plan.total} vs {initial}"
        raise SettingsError(f"max_train_steps should be greater than initial step / {japanese}: {numbers}")
    if not getattr(args, "skip_until_initial_step", False):
        return Start(initial // plan.steps_per_epoch)
    log(f"skipping {initial} steps / {initial}ステップをスキップします")
    batches = initial * args.gradient_accumulation_steps
    epoch = batches // plan.steps_per_epoch
    left = batches - epoch * plan.batches_per_epoch
    return Start(epoch, max(left, 0) // args.gradient_accumulation_steps, left)


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


SAID = ("output_name", "network_module", "network_dim", "network_alpha", "learning_rate", "resolution", "seed")


def _metadata(args: argparse.Namespace, plan: StepsPlan) -> dict[str, str]:
    """What the trainer writes, as far as a stand-in knows it, and what it is (train_network.py:527)."""
    values = {name: getattr(args, name, None) for name in SAID} | {
        "num_train_images": plan.images_per_epoch,
        "num_epochs": plan.epochs,
        "max_train_steps": plan.total,
        "training_started_at": time.time(),
    }
    return {"practice": MARK, **{f"ss_{name}": str(value) for name, value in values.items()}}
