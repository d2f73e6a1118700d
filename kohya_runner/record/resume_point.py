"""Which run ``launch --resume`` continues, and from where: from which complete state.

A state is a folder, ``<name>-<epoch>-state`` or ``checkpoint-<step>``. Where the trainer keeps counts, it writes them
into it first (``train_state.json``, a hook of its own, train_network.py:1351), and the random states last (accelerate's
save_accelerator_state), each file in place. A trainer that was killed in between leaves a folder that only looks like
a state.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.artefact.content import examine
from kohya_runner.artefact.safetensors_header import HeaderError, read_header
from kohya_runner.record import attempts
from kohya_runner.record.attempts import Attempts
from kohya_runner.record.ledger import RunView
from kohya_runner.record.record import CUT, Record
from kohya_runner.record.run_paths import ResumeWay, attempt_log, attempt_name
from kohya_runner.safe_files import kept_away, open_file

ZIPS = ("optimizer.bin", "scheduler.bin")
"""What torch.save wrote: a zip has its directory at the end, so a truncated one is not recognised."""
LAST_OF_STATE = "random_states_0.pkl"
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
    """The states with a number in their name, the newest first.

    Raises:
        OSError: one is there and the system does not let it be read; that is neither none nor a broken one.
    """
    pattern = re.compile(way.folder.format(name=re.escape(name)))
    try:
        found = [(path, pattern.fullmatch(path.name)) for path in output_dir.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return ()
    read = [_read(_named(path, way, match, steps_per_epoch)) for path, match in found if match]
    return tuple(sorted(read, key=lambda state: (-state.epoch, -(state.step or 0))))


def _named(path: Path, way: ResumeWay, match: re.Match[str], steps_per_epoch: int) -> TrainingState:
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
    except (HeaderError, OSError) as fault:
        _unless_kept_away(fault)
        return replace(state, problem=f"contains no readable {state.way.weights}")
    return replace(state, problem=found.problem)


def _sums_hold(path: Path) -> bool:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as fault:
        _unless_kept_away(fault)
        return False


def _unless_kept_away(fault: BaseException) -> None:
    if kept_away(fault):
        raise fault


def _read(state: TrainingState) -> TrainingState:
    """The same with what its files say, and what is wrong with them."""
    if not state.way.numbers:
        return replace(state, problem=_missing(state))
    try:
        with open_file(state.path / state.way.numbers) as opened:
            value = json.loads(opened.read(LARGEST))
        said, counted = int(value["current_epoch"]), int(value["current_step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        _unless_kept_away(fault)
        return replace(state, problem=f"has no readable {state.way.numbers}")
    problem = _missing(state) or ("" if said == state.epoch else f"says it is of epoch {said}")
    return replace(state, counted=counted, problem=problem)


def _missing(state: TrainingState) -> str:
    path, weights = state.path, state.way.weights
    try:
        if read_header(path / weights).total != (path / weights).stat().st_size:
            return f"contains a truncated {weights}"
        for name in ZIPS:
            with open_file(path / name) as file:
                whole = zipfile.is_zipfile(file)
            if not whole:
                return f"contains no complete {name}"
        return "" if (path / LAST_OF_STATE).stat().st_size else f"contains an empty {LAST_OF_STATE}"
    except (HeaderError, OSError) as fault:
        _unless_kept_away(fault)
        return f"is incomplete: {getattr(fault, 'filename', '') or weights}"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A run that was cut, the state it continues from, and the newer states, which are incomplete."""

    path: Path
    record: Record
    state: TrainingState
    broken: tuple[TrainingState, ...]
    known: Attempts

    @property
    def epoch(self) -> int:
        return self.state.epoch

    @property
    def attempt(self) -> int:
        return max([self.record.attempt, *(a.number for a in self.known.attempts)]) + 1

    @property
    def log(self) -> str:
        return attempt_log(self.attempt)

    def first_step(self, steps_per_epoch: int) -> int:
        """Steps that are done, in the whole run."""
        return self.epoch * steps_per_epoch if self.state.step is None else self.state.step

    @property
    def first_epoch(self) -> int:
        """Epochs that are done and that the trainer of this attempt does not count."""
        return self.epoch if self.state.way.recounts else 0

    @property
    def output_name(self) -> str:
        return attempt_name(self.record.name, self.epoch) if self.state.way.recounts else self.record.name

    def as_json(self, steps_per_epoch: int) -> Mapping[str, object]:
        return {
            "run": f"{self.record.name}/{self.record.run_id}",
            "attempt": self.attempt,
            "state": str(self.state.path),
            "epochs_done": self.epoch,
            "steps_done": self.first_step(steps_per_epoch),
            "broken_states": [f"{state.path.name} {state.problem}" for state in self.broken],
        }

    def __str__(self) -> str:
        skipped = "".join(f"; {state.path.name} {state.problem}, so it is skipped" for state in self.broken)
        run = f"{self.record.name}/{self.record.run_id}"
        inside = "" if self.state.step is None else f", step {self.state.step}"
        return f"{run} continues after epoch {self.epoch}{inside} (attempt {self.attempt}){skipped}"


def latest(views: Iterable[RunView], name: str, *, practice: bool) -> RunView | None:
    """The newest run of a name; practice continues practice only. ``views`` are those of ``ledger.runs``."""
    mine = [v for v in views if v.name == name and v.record is not None and v.record.practice == practice]
    return mine[-1] if mine else None


def unreadable(views: Iterable[RunView], name: str, way: ResumeWay | None) -> tuple[RunView, tuple[str, ...]] | None:
    """The newest run of a name, where what says how far it came cannot be read; and the whole states that it left."""
    mine = sorted((v for v in views if v.name == name), key=lambda v: v.run_id)
    view = mine[-1] if mine else None
    if view is None or (view.record is not None and not attempts.problem(view.path)):
        return None
    states = states_of(view.output_dir, name, way) if way else ()
    return view, tuple(state.path.name for state in states if not state.problem)


def find(views: Iterable[RunView], name: str, way: ResumeWay | None, *, practice: bool) -> ResumePoint | None:
    """What can be continued; None where the newest run was not cut, cannot be read, or left no complete state."""
    known_views = tuple(views)
    view = latest(known_views, name, practice=practice)
    if way is None or view is None or view.record is None or view.state not in CUT:
        return None
    if unreadable(known_views, name, way):
        return None
    record, known = view.record, attempts.read(view.path)
    each = known.attempts[-1].steps_per_epoch if known.attempts else 1
    broken: list[TrainingState] = []
    for state in map(checked, states_of(view.output_dir, name, way, each)):
        inside = state.step is not None
        done, planned = (state.step, record.steps_planned) if inside else (state.epoch, record.epochs_planned)
        if not state.problem and (planned is None or (done or 0) < planned):
            return ResumePoint(view.path, record, state, tuple(broken), known)
        broken.append(state)
    return None
