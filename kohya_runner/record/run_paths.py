"""Every name below ``runs/``: what a run is called, what it writes and where. Nobody else spells one of them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RECORD = "record.json"
RECIPE = "recipe.yaml"
OUTPUT = "output"
COMPARISON = "comparison"
CELLS = "cells"
PUBLICATION = "publication"
LOG = "trainer.log"
_ATTEMPT_LOG = re.compile(r"trainer(?:-(\d{3,}))?\.log")
ACTIVE, ACTIVE_GUARD = "active", ".active.guard"
"""In ``runs/<name>``: who holds the name, and the lock that guards that file."""


NODES = "nodes"
"""In ``runs/<name>``: what the machines of a run tell each other, in ``runs/<name>/<run id>``: their logs."""
_DIGITS = 3
"""Of a run's number: ``runs/<name>/001``."""


def attempt_log(number: int) -> str:
    """The name of the log of an attempt: each has one of its own."""
    return LOG if number <= 1 else f"trainer-{number:03d}.log"


class RunPaths:
    """The files and folders of one run, ``runs/<name>/<run id>``."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.name = run_dir.parent  # all runs of the recipe
        self.runs = run_dir.parent.parent  # all runs of the workspace
        self.record = run_dir / RECORD
        self.recipe = run_dir / RECIPE  # resolved: launch takes it, here or on another machine
        self.plan = run_dir / "plan.json"  # as ``plan --json`` prints it
        self.attempts = run_dir / "attempts.json"
        self.set_aside = run_dir / "attempts"  # what a later attempt writes anew: nothing is overwritten or lost
        self.metrics = run_dir / "metrics.jsonl"
        self.output = run_dir / OUTPUT  # checkpoints and training states
        self.samples = self.output / "sample"  # the trainer chooses the name (library/sampling.py:325)
        self.log = run_dir / LOG  # of the first attempt
        self.tensorboard = run_dir / "logs"  # the trainer's --logging_dir
        self.runner_log = run_dir / "runner.log"  # what a detached runner says
        self.sentinel_log = run_dir / "sentinel.log"
        self.sentinel_lock = run_dir / ".sentinel"
        self.stop_request = run_dir / "stop.json"
        self.nodes = run_dir / NODES  # logs of the machines after the first
        self.disk_reserve = run_dir / ".reserve"
        self.keep_pod = run_dir / "keep-pod"  # made by a person who wants the pod to go on
        self.still_billing = run_dir / "STILL-BILLING.txt"
        self.prompts = run_dir / "compare-prompts.txt"  # as gen_img.py reads them
        self.comparison = run_dir / COMPARISON
        self.report = run_dir / "report.html"
        self.publication = run_dir / PUBLICATION
        self.remote = run_dir / "remote.json"  # of a run on another machine: what is known about its stay there
        self.remote_job = run_dir / "remote-job.json"  # what was asked of the place
        self.remote_lock = run_dir / ".remote-lock"
        self.pack = run_dir / "pack"  # what goes there: recipe.yaml and links to the files that it names
        self.sums = run_dir / "sha256sums.json"  # of all files of a run that ended on another machine, made there
        self.remote_log = run_dir / "launch.log"  # what start and launch said there

    def node_log(self, rank: int, log: str) -> Path:
        """The log of a machine after the first; ``log`` is the first one's."""
        return self.nodes / f"{rank:03d}-{log}"

    def newest_log(self) -> Path:
        """The log of the last attempt that began, as the folder tells without a record."""
        try:
            found = [(int(m[1] or 1), p) for p in self.run_dir.iterdir() if (m := _ATTEMPT_LOG.fullmatch(p.name))]
        except OSError:
            found = []
        return max(found)[1] if found else self.log


class ComparisonPaths:
    """The files and folders of a comparison, in a run's folder or beside the files that were named."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = folder / "compare.json"
        self.sheet = folder / "contact-sheet.png"
        self.page = folder / "report.html"
        self.cells = folder / CELLS  # the painted pictures, each named by its key
        self.controls = folder / "controls"  # pictures to edit, in the size that is painted
        self.log = folder / "compare.log"
        self.clip = folder / "clip.json"  # what CLIP said of the pictures
        self.picked = folder / "picked.json"  # the record of --pick


class PublicationPaths:
    """What ``publish`` writes, in a run's folder or in the workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.page = folder / "publish.html"  # the card and the files, to look at
        self.copies = folder / "copies"  # what is uploaded, for as long as that takes
        self.comfyui = folder / "comfyui"  # what converters made
        self.record = folder / "published.json"
        self.lock = folder / ".lock"


def node_file(folder: Path, rank: int) -> Path:
    """What a machine tells the others; ``folder`` holds the runs of a name."""
    return folder / NODES / f"{rank:03d}.json"


def next_run(folder: Path) -> Path:
    """The first number after the highest that was ever used there."""
    used = [0]
    with contextlib.suppress(OSError):
        used += [int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]
    return folder / f"{max(used) + 1:0{_DIGITS}d}"


def claim(folder: Path) -> bool:
    """Make a run's folder; False where another launch was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


MARK = "+"
"""In a name: what follows are the epochs that were done before. No recipe's name holds it."""


@dataclass(frozen=True, slots=True)
class ResumeWay:
    """One way to go on; a script that has the options ``needs`` goes this way.

    ``folder`` is a state's name, a regular expression after the run's name is put in; its groups say the epochs or
    steps that were done, ``before`` those of earlier attempts. ``weights`` and ``numbers`` are files in it.
    """

    needs: tuple[str, ...]
    sets: tuple[str, ...]  # options that --resume sets, and a recipe may not
    folder: str
    weights: str = "model.safetensors"
    numbers: str = ""  # where the trainer writes its counts; "" where it writes none
    recounts: bool = False  # epochs, steps and files are numbered from 1 again
    steps_inside: bool = False  # whether it can go on inside an epoch, and end inside one
    bar: Literal["anew", "epoch", "on"] = "anew"  # begins at 0, at 0 with what of the epoch is skipped, at what is done

    def bar_offset(self, done: int, steps_per_epoch: int) -> int:
        """What is to be added to the bar's number for the step in the whole run."""
        return {"anew": done, "epoch": done - done % steps_per_epoch, "on": 0}[self.bar]


def attempt_name(name: str, epoch: int) -> str:
    """The ``output_name`` of an attempt that numbers its files from 1 again, after this many epochs."""
    return f"{name}{MARK}{epoch:06d}"
