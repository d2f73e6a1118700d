"""Runs of the real trainer on tiny weights that are killed at random moments and go on with ``launch --resume``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import made_models
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAME = "a_cat"
EPOCHS = 6
PICTURES = 6
STEP_SECONDS = "0.8"
"""A launch takes longer than such a small training: whoever comes back after a kill must still meet it."""
EPOCH = re.compile(r"^epoch (\d+)/\d+$", re.MULTILINE)
FASTER = "none: the trainer, whose runner was killed before, came to its end first"
LATEST_KILLS = (3, 4, 5)
"""The last epoch in which the first, the second and the third kill may come: three fit into one run."""
RECIPE = f"""
name: {NAME}
family: sd15
model: MODEL
datasets: [{{images: ./pictures, concept: cat, repeats: 2}}]
args:
  resolution: 64
  min_bucket_reso: 64
  max_train_epochs: {EPOCHS}
  train_batch_size: 2
  learning_rate: 1.0e-3
  lr_scheduler: cosine
  network_dim: 2
  network_alpha: 1
  optimizer_type: AdamW
  mixed_precision: "no"
  sdpa: true
  seed: 42
  cache_latents: true
  max_data_loader_n_workers: 0
  tokenizer_cache_dir: TOKENIZERS
"""

READ_STATE = """
import json, sys, torch
folder = sys.argv[1]
optimizer = torch.load(folder + "/optimizer.bin", weights_only=False)
scheduler = torch.load(folder + "/scheduler.bin", weights_only=False)
steps = {int(values["step"]) for values in optimizer["state"].values()}
print(json.dumps({"optimizer": sorted(steps), "scheduler": scheduler["last_epoch"]}))
"""
"""In the trainer's own Python: how many steps the optimizer and the scheduler of a state have behind them."""


@dataclass
class Place:
    """Tiny models, pictures and a recipe, for as many workspaces as are wanted."""

    root: Path
    sd_scripts: Path
    python: Path
    options: tuple[str, ...] = ()  # of every launch

    def furnish(self) -> Place:
        models, pictures = self.root / "tiny models", self.root / "pictures"
        models.mkdir()
        made_models.put(self.python, self.sd_scripts, "sd15", models)
        pictures.mkdir()
        dice = random.Random(0)
        for number in range(PICTURES):
            Image.frombytes("RGB", (64, 64), dice.randbytes(3 * 64 * 64)).save(pictures / f"a cat {number}.png")
            (pictures / f"a cat {number}.txt").write_text("a cat", encoding="utf-8")
        text = RECIPE.replace("MODEL", json.dumps(str(models / "model.safetensors")))
        self.recipe.write_text(text.replace("TOKENIZERS", json.dumps(str(models / "tokenizers"))), encoding="utf-8")
        return self

    @property
    def recipe(self) -> Path:
        return self.root / "a cat.yaml"

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "KOHYA_SHRUNK_STEP_SECONDS": STEP_SECONDS,
            "KOHYA_RUNNER_SD_SCRIPTS": str(self.sd_scripts),
            "KOHYA_RUNNER_PYTHON": str(self.python),
        }


@dataclass
class Case:
    """One run in a workspace of its own."""

    place: Place
    workspace: Path
    kills: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The newest: a run that was killed before its first state is begun anew in a folder of its own."""
        return max((self.workspace / "runs" / NAME).glob("0*"), default=self.workspace / "runs" / NAME / "001")

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def start(self, *options: str) -> subprocess.Popen[str]:
        how = () if "--rehearse" in options else ("--resume",)
        command = (
            sys.executable,
            "-m",
            "kohya_runner",
            "launch",
            str(self.place.recipe),
            "--trust=args.tokenizer_cache_dir",
            *how,
            *self.place.options,
            *options,
        )
        return subprocess.Popen(
            (*command, f"--workspace={self.workspace}", "--allow=hub.offline"),
            env=self.place.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, *options: str) -> tuple[int, str]:
        process = self.start(*options)
        said, _ = process.communicate(timeout=400)
        return process.returncode, said

    def epochs_begun(self, log: str) -> list[int]:
        with contextlib.suppress(OSError):
            return [int(number) for number in EPOCH.findall((self.folder / log).read_text("utf-8", "replace"))]
        return []

    def begun(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The record, once this runner has written it and its trainer runs."""
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                record = self.read("record.json")
                if record["state"] == "running" and record["runner"]["pid"] == process.pid:
                    return record
            time.sleep(0.02)
        raise AssertionError(
            f"it did not start: {process.communicate(timeout=180)[0] if process.poll() is not None else 'no record'}"
        )

    def kill_once(self, dice: random.Random, latest: int, seconds_an_epoch: float) -> None:
        """Launch, wait for a random moment, kill trainer, runner or both."""
        process = self.start()
        try:
            record = self.begun(process)
        except AssertionError:
            if process.poll() != 0:
                raise
            self.kills.append(FASTER)
            return
        log, trainer = record["log"], record["process"]["pid"]
        if dice.random() < 0.15:
            time.sleep(dice.uniform(0, 3))  # before the first epoch: loading, or reading the state
        else:
            first = max([record["first_step"] * EPOCHS // record["steps_planned"], *self.epochs_begun(log)]) + 1
            epoch = dice.randint(min(first, latest), latest)
            while epoch not in self.epochs_begun(log) and process.poll() is None:
                time.sleep(0.02)
            time.sleep(dice.uniform(0, seconds_an_epoch))
        if process.poll() == 0:
            self.kills.append(FASTER)
            return
        assert process.poll() is None, "it ended before it could be killed"
        whom = dice.choice(("trainer", "runner", "both"))
        for pid in {"trainer": (trainer,), "runner": (process.pid,), "both": (process.pid, trainer)}[whom]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=180)
        self.kills.append(f"{whom} in epoch {max(self.epochs_begun(log), default=0)}")
        self.ends.append(process.returncode)

    def steps_of(self, folder: Path) -> dict[str, Any]:
        command = (str(self.place.python), "-c", READ_STATE, str(folder))
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def clear(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            os.killpg(self.read("record.json")["process"]["pid"], signal.SIGKILL)
        shutil.rmtree(self.workspace, ignore_errors=True)


@dataclass(frozen=True)
class Whole:
    """What an uninterrupted run left, and how long an epoch of it took."""

    files: tuple[str, ...]
    states: tuple[str, ...]
    steps: int
    seconds_an_epoch: float
    tensors: dict[str, bytes]
    counted: dict[str, Any]


def read_whole(case: Case) -> Whole:
    record = case.read("record.json")
    times = record["timings"]
    return Whole(
        files=names(case.output, "*.safetensors"),
        states=names(case.output, "*-state"),
        steps=record["steps_seen"],
        seconds_an_epoch=(times["ended"] - times["first_step"]) / EPOCHS,
        tensors={path.name: numbers(path) for path in case.output.glob("*.safetensors")},
        counted=case.steps_of(case.output / f"{NAME}-state"),
    )


def names(folder: Path, pattern: str) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob(pattern)))


def numbers(path: Path) -> bytes:
    """The tensors of a file without its metadata, which holds times."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def killed_three_times(case: Case, whole: Whole, seed: int) -> str:
    """Kill, resume, kill, resume, kill, resume; what the last launch said."""
    dice = random.Random(seed)
    for latest in LATEST_KILLS:
        case.kill_once(dice, latest, whole.seconds_an_epoch * 0.9)
    code, said = case.finish()
    case.ends.append(code)
    return said


def check(case: Case, whole: Whole) -> None:
    """The run that was killed is the run that was not: epochs, files, names, and steps behind the final weights."""
    assert case.ends[-1] == 0, (case.kills, case.ends)
    assert names(case.output, "*.safetensors") == whole.files
    assert names(case.output, "*-state") == whole.states
    record, ledger = case.read("record.json"), case.read("attempts.json")["attempts"]
    assert record["state"] == "succeeded"
    assert record["steps_seen"] == record["steps_planned"] == whole.steps
    kept = [c["file"] for c in record["checkpoints"]]
    assert sorted(kept) == list(whole.files)
    assert [c["epoch"] for c in sorted(record["checkpoints"], key=lambda c: c["epoch"])] == list(range(1, EPOCHS + 1))
    assert all(c["complete"] and not c["removed"] for c in record["checkpoints"])
    check_attempts(case, ledger, whole)
    assert case.steps_of(case.output / f"{NAME}-state") == whole.counted
    for folder in case.workspace.glob(f"runs/{NAME}/0*"):
        assert folder == case.folder or not list(folder.glob("output/*-state/random_states_0.pkl"))


def check_attempts(case: Case, ledger: list[dict[str, Any]], whole: Whole) -> None:
    """Each attempt begins where the state before it ends; every kept file has its own place in the whole run."""
    per_epoch = whole.steps // EPOCHS
    assert [bool(attempt["outcome"]) for attempt in ledger] == [True] * len(ledger)
    assert ledger[-1]["outcome"] == "succeeded"
    for attempt in ledger:
        begun = case.epochs_begun(attempt["log"])
        assert begun == list(range(attempt["epoch"] + 1, attempt["epoch"] + 1 + len(begun)))
        assert attempt["step"] == attempt["epoch"] * per_epoch
    for file in whole.files:
        said = metadata(case.output / file)
        epoch = int(said["ss_epoch"])
        writer = [a for a in ledger if a["epoch"] < epoch and epoch in case.epochs_begun(a["log"])][-1]
        assert file == (f"{NAME}.safetensors" if epoch == EPOCHS else f"{NAME}-{epoch:06d}.safetensors")
        assert writer["step"] + int(said["ss_steps"]) == epoch * per_epoch
