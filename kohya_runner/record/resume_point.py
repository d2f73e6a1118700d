"""Which run ``launch --resume`` continues, and from where: decided from the files, which are not changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.record import attempts, training_states
from kohya_runner.record.record import CUT
from kohya_runner.record.run_paths import attempt_log, attempt_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kohya_runner.record.attempts import Attempts
    from kohya_runner.record.ledger import RunView
    from kohya_runner.record.record import Record
    from kohya_runner.record.run_paths import ResumeWay
    from kohya_runner.record.training_states import TrainingState


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
        """Epochs that are done."""
        return self.state.epoch

    @property
    def attempt(self) -> int:
        """The number of the attempt to come."""
        return max([self.record.attempt, *(a.number for a in self.known.attempts)]) + 1

    @property
    def log(self) -> str:
        """Each attempt has a log of its own."""
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
        """What the trainer of this attempt calls its files."""
        return attempt_name(self.record.name, self.epoch) if self.state.way.recounts else self.record.name

    def as_json(self, steps_per_epoch: int) -> Mapping[str, object]:
        """The ``resume`` object of ``plan --json``."""
        return {
            "run": f"{self.record.name}/{self.record.run_id}",
            "attempt": self.attempt,
            "state": str(self.state.path),
            "epochs_done": self.epoch,
            "steps_done": self.first_step(steps_per_epoch),
            "broken_states": [f"{state.path.name} {state.problem}" for state in self.broken],
        }

    def __str__(self) -> str:
        """For one row of the screen."""
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
    states = training_states.states_of(view.output_dir, name, way) if way else ()
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
    for state in map(training_states.checked, training_states.states_of(view.output_dir, name, way, each)):
        if not state.problem and _before_the_end(state, record):
            return ResumePoint(view.path, record, state, tuple(broken), known)
        broken.append(state)
    return None


def _before_the_end(state: TrainingState, record: Record) -> bool:
    if state.step is not None:
        return record.steps_planned is None or state.step < record.steps_planned
    return record.epochs_planned is None or state.epoch < record.epochs_planned
