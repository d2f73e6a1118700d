"""Training states as they lie there: which of them are whole.

A state is a folder ``<name>-<epoch>-state``. The trainer writes ``train_state.json`` into it first (a hook of its own,
train_network.py:944) and the random states last (accelerate's save_accelerator_state), each file in place. What was
killed in between is a folder that looks like a state and is none.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner.run.content import examine
from kohya_runner.run.safetensors_header import HeaderError, read_header

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = "train_state.json"
WEIGHTS = "model.safetensors"
ZIPS = ("optimizer.bin", "scheduler.bin")
"""What torch.save wrote: a zip has its directory at the end, so a cut one has none."""
LAST = "random_states_0.pkl"
LARGEST = 1 << 16
"""Bytes; longer numbers are none."""


@dataclass(frozen=True, slots=True)
class State:
    """One state: after how many epochs it was written, and the steps of its own attempt that the trainer counted.

    ``problem`` is the rest of a sentence about the folder, "" for a whole one.
    """

    path: Path
    epoch: int
    steps: int = 0
    problem: str = ""


def states_of(output_dir: Path, name: str) -> tuple[State, ...]:
    """The states with an epoch in their name, the newest first."""
    pattern = re.compile(rf"{re.escape(name)}-(\d{{6}})-state")
    try:
        found = [(path, pattern.fullmatch(path.name)) for path in output_dir.iterdir() if path.is_dir()]
    except OSError:
        return ()
    read = [_read(path, int(match[1])) for path, match in found if match]
    return tuple(sorted(read, key=lambda state: -state.epoch))


def sound(state: State) -> State:
    """The state with what is wrong with its numbers.

    One that holds NaN would only train NaN on, one that was never trained is no better than a beginning. All weights
    are read.
    """
    if state.problem:
        return state
    try:
        found = examine(state.path / WEIGHTS)
    except (HeaderError, OSError):
        return replace(state, problem=f"holds no readable {WEIGHTS}")
    return replace(state, problem=found.problem)


def _read(path: Path, epoch: int) -> State:
    try:
        said, steps = _numbers(path / NUMBERS)
        problem = _missing(path) or ("" if said == epoch else f"says it is of epoch {said}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State(path, epoch, problem=f"has no readable {NUMBERS}")
    return State(path, epoch, steps, problem)


def _numbers(file: Path) -> tuple[int, int]:
    if file.stat().st_size > LARGEST:
        raise ValueError(file)
    value = json.loads(file.read_bytes())
    return int(value["current_epoch"]), int(value["current_step"])


def _missing(path: Path) -> str:
    """What is not there, or not whole."""
    try:
        if read_header(path / WEIGHTS).total != (path / WEIGHTS).stat().st_size:
            return f"holds a cut {WEIGHTS}"
        for name in ZIPS:
            if not zipfile.is_zipfile(path / name):
                return f"holds no whole {name}"
        return "" if (path / LAST).stat().st_size else f"holds an empty {LAST}"
    except (HeaderError, OSError) as fault:
        return f"is not whole: {getattr(fault, 'filename', '') or WEIGHTS}"
