"""The training states in an output folder: which of them are complete.

A state is a folder, ``<name>-<epoch>-state`` or ``checkpoint-<step>``. Where the trainer keeps counts, it writes them
into it first (``train_state.json``, a hook of its own, train_network.py:944), and the random states last (accelerate's
save_accelerator_state), each file in place. A trainer that was killed in between leaves a folder that only looks like
a state.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner.artefact.content import examine
from kohya_runner.artefact.safetensors_header import HeaderError, read_header
from kohya_runner.safe_files import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.record.run_paths import ResumeWay

ZIPS = ("optimizer.bin", "scheduler.bin")
"""What torch.save wrote: a zip has its directory at the end, so a truncated one is not recognised."""
LAST = "random_states_0.pkl"
LARGEST = 1 << 16
"""Bytes; a larger file does not hold counts."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """One state: after how many epochs it was written, and where that may be inside one, after how many steps.

    ``counted`` are the steps of its own attempt that the trainer counted, None where it writes none; ``problem`` is the
    rest of a sentence about the folder, "" for a whole one.
    """

    path: Path
    way: ResumeWay
    epoch: int
    step: int | None = None
    counted: int | None = None
    problem: str = ""


def states_of(output_dir: Path, name: str, way: ResumeWay, steps_per_epoch: int = 1) -> tuple[TrainingState, ...]:
    """The states with a number in their name, the newest first."""
    pattern = re.compile(way.folder.format(name=re.escape(name)))
    try:
        found = [(path, pattern.fullmatch(path.name)) for path in output_dir.iterdir() if path.is_dir()]
    except OSError:
        return ()
    read = [_read(_named(path, way, match, steps_per_epoch)) for path, match in found if match]
    return tuple(sorted(read, key=lambda state: (-state.epoch, -(state.step or 0))))


def _named(path: Path, way: ResumeWay, match: re.Match[str], steps_per_epoch: int) -> TrainingState:
    """What its name says."""
    said = match.groupdict()
    if said.get("step") is not None:
        return TrainingState(path, way, int(said["step"]) // steps_per_epoch, int(said["step"]))
    return TrainingState(path, way, int(said["epoch"]) + int(said.get("before") or 0))


def checked(state: TrainingState) -> TrainingState:
    """The state with what is wrong with its weights.

    A state with NaN would only train NaN; one that was never trained is no better than a new start. All weights
    are read, and what torch.save wrote against its own checksums: a zip's end says nothing of its middle.
    """
    if state.problem:
        return state
    for name in ZIPS:
        if not _sums_hold(state.path / name):
            return replace(state, problem=f"contains a damaged {name}: it does not hold what its checksums say")
    try:
        found = examine(state.path / state.way.weights)
    except (HeaderError, OSError):
        return replace(state, problem=f"contains no readable {state.way.weights}")
    return replace(state, problem=found.problem)


def _sums_hold(path: Path) -> bool:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, struct.error):
        return False


def _read(state: TrainingState) -> TrainingState:
    """The same with what its files say, and what is wrong with them."""
    if not state.way.numbers:
        return replace(state, problem=_missing(state))
    try:
        said, counted = _numbers(state.path / state.way.numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return replace(state, problem=f"has no readable {state.way.numbers}")
    problem = _missing(state) or ("" if said == state.epoch else f"says it is of epoch {said}")
    return replace(state, counted=counted, problem=problem)


def _numbers(file: Path) -> tuple[int, int]:
    if file.stat().st_size > LARGEST:
        raise ValueError(file)
    with open_file(file) as opened:
        value = json.load(opened)
    return int(value["current_epoch"]), int(value["current_step"])


def _missing(state: TrainingState) -> str:
    """What is missing or incomplete."""
    path, weights = state.path, state.way.weights
    try:
        if read_header(path / weights).total != (path / weights).stat().st_size:
            return f"contains a truncated {weights}"
        for name in ZIPS:
            with open_file(path / name) as file:
                whole = zipfile.is_zipfile(file)
            if not whole:
                return f"contains no complete {name}"
        return "" if (path / LAST).stat().st_size else f"contains an empty {LAST}"
    except (HeaderError, OSError) as fault:
        return f"is incomplete: {getattr(fault, 'filename', '') or weights}"
