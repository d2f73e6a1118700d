"""``attempts.json``: every start of one run, where it began and where it ended.

The trainer counts the steps of a resumed run from 0 again (``global_step``, train_network.py:1471), so nothing that it
writes says where in the run a state belongs. This file does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kohya_runner.record.ledger import RunView
from kohya_runner.record.record import LIVE, PathInside, RecordPart
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import PRIVATE, write_text


class Attempt(RecordPart):
    """One start. ``epoch`` and ``step`` are what was done before it; the rest is empty until the attempt is over."""

    number: int = Field(ge=1)
    world_size: int
    steps_per_epoch: int
    epoch: int = 0
    step: int = 0
    from_state: PathInside = ""
    log: PathInside
    queued: float
    ended: float | None = None
    outcome: str = ""  # as ``kohya-runner status`` says it: stopped, failed, lost, succeeded
    why: str = ""
    epochs_seen: int | None = None
    steps_seen: int | None = None


class Attempts(RecordPart):
    version: Literal[1] = 1
    attempts: tuple[Attempt, ...] = Field(default=(), strict=False)

    def writer_of(self, epoch: int) -> Attempt | None:
        """The attempt that wrote the state of an epoch: the last that began before it."""
        return next((a for a in reversed(self.attempts) if a.epoch < epoch), None)


def read(run_dir: Path) -> Attempts:
    """The attempts of a run; none where the file is not there or cannot be understood."""
    try:
        return Attempts.model_validate_json(RunPaths(run_dir).attempts.read_bytes())
    except (OSError, ValidationError):
        return Attempts()


def problem(run_dir: Path) -> str:
    """Why the file cannot be understood; "" where it can, or is not there."""
    path = RunPaths(run_dir).attempts
    if read(run_dir).attempts or not path.exists():
        return ""
    return f"{path}: cannot be read, or was written by another version"


def add(run_dir: Path, attempt: Attempt) -> None:
    _write(run_dir, (*read(run_dir).attempts, attempt))


def close_last(view: RunView) -> None:
    """Record how the last attempt ended, as far as it is known; an attempt that is still running is left alone."""
    record, known = view.record, read(view.path).attempts
    if record is None or view.state in LIVE or not known or known[-1].outcome:
        return
    told = {
        "ended": record.timings.ended,
        "outcome": view.state,
        "why": view.problem,
        "epochs_seen": record.epochs_seen,
        "steps_seen": record.steps_seen,
    }
    _write(view.path, (*known[:-1], known[-1].model_copy(update=told)))


def _write(run_dir: Path, attempts: tuple[Attempt, ...]) -> None:
    write_text(RunPaths(run_dir).attempts, Attempts(attempts=attempts).model_dump_json(indent=2) + "\n", PRIVATE)
