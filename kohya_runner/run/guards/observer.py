"""The observer that guards a run: looks at disk and memory now and then, and does what the table of guards says."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.diagnosis.events import Event
from kohya_runner.machine.filesystems import used_bytes
from kohya_runner.machine.host import available, free_bytes
from kohya_runner.run.checkpoint_check import AT_ONCE
from kohya_runner.run.checkpoints import FRESH, LAST_OF_STATE
from kohya_runner.run.guards.state import GuardState, Readings, StateFolder, after_event, after_readings
from kohya_runner.run.observers import Reporter, Stop
from kohya_runner.run.recorder import Recorder
from kohya_runner.text import duration, size

SLOW = 4
"""How much longer than between steps nothing may be heard while models load, kernels compile or samples are made."""
STEADY = 2  # steps after which the time of one is known: the first may compile for minutes
LOOKS = 2  # so many looks in a row find too little room, before it counts
JUDGING_SECONDS = 10.0
"""How long a stop may wait until the newest checkpoint is read, so that the last good one can be named."""
LOW_MEMORY, LEAST_MEMORY = 0.03, 1 << 29


@dataclass(frozen=True, slots=True)
class Warn:
    """What a person should know; the run goes on."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Prune:
    """State folders to be removed, so that the next save has room."""

    code: str
    folders: tuple[Path, ...]
    text: str


Verdict = Stop | Warn | Prune


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One row: the codes it may give, and the decision."""

    codes: tuple[str, ...]
    what: str
    decide: Callable[[GuardState], Verdict | None]


def _loss(state: GuardState) -> Verdict | None:
    """The trainer's mean holds one NaN for ever (LossRecorder, library/logging_util.py:57)."""
    if state.bad_step is None or state.loss is None:
        return None
    infinite = math.isinf(state.loss)
    code, word = ("loss.infinite", "infinite") if infinite else ("loss.nan", "NaN")
    text = f"the loss is {word} since step {state.bad_step}"
    if state.policy.nan == "ignore":
        return Warn(code, text)
    judging = any(c.complete and not c.removed and not c.sha256 and c.bytes <= AT_ONCE for c in state.checkpoints)
    if judging and state.now - state.bad_since < JUDGING_SECONDS:
        return None
    return Stop(code, f"{text}{_last_good(state)}")


def _weights(state: GuardState) -> Verdict | None:
    """NaN stays NaN: every later checkpoint would be as worthless."""
    bad = next((c for c in state.checkpoints if c.nonfinite and not c.removed), None)
    if bad is None:
        return None
    text = f"{bad.file} {bad.problem}"
    return Warn("weights.nan", text) if state.policy.nan == "ignore" else _stop_for(state, "weights.nan", text)


def _untrained(state: GuardState) -> Verdict | None:
    """No reason to stop: a checkpoint of the first steps of a long warm-up may be like that."""
    bad = next((c for c in state.checkpoints if c.untrained and not c.removed), None)
    return Warn("weights.zero", f"{bad.file} {bad.problem}") if bad else None


def _diverged(state: GuardState) -> Verdict | None:
    rule, trend = state.policy.diverged, state.trend
    if rule is None or trend.over is None or state.step - trend.over < rule.steps:
        return None
    text = f"the smoothed loss is {trend.smoothed:.3g}, more than {rule.factor:g} times the best ({trend.best:.3g})"
    return _stop_for(state, "loss.diverged", f"{text}, since step {trend.over}")


def _stalled(state: GuardState) -> Verdict | None:
    rule = state.policy.stalled
    silent = state.now - state.since
    if rule is None or silent < rule.least_seconds:
        return None
    pace = statistics.median(state.paces) if state.paces else 0.0
    steady = state.training and state.steps_heard > STEADY
    limit = max(rule.least_seconds, rule.times * pace) * (1 if steady else SLOW)
    if silent < limit:
        return None
    usual = f", a step usually takes {pace:.2g} s" if pace else ""
    text = f"no progress for {duration(silent)} while {state.phase}{usual}"
    return _stop_for(state, "progress.stalled", text)


def _disk(state: GuardState) -> Verdict | None:
    policy, free = state.policy.disk, state.look.free
    if state.short < LOOKS or free is None or policy == "ignore":
        return None
    text = f"{size(free)} free, the next save needs {size(state.next_save)}"
    folders = prunable(state.look.states, state.needed - free) if policy == "prune_states" else ()
    if folders:
        names = ", ".join(path.name for path in folders)
        return Prune("disk.full", folders, f"{text}: removing older states of this run ({names})")
    return _stop_for(state, "disk.full", text)


def prunable(states: tuple[StateFolder, ...], missing: int) -> tuple[Path, ...]:
    """The oldest states that make up for what is missing; none where all of them would not do.

    The newest complete one is always kept, and without a complete one nothing is removed.
    """
    ordered = sorted(states, key=lambda state: state.written)
    newest = next((state for state in reversed(ordered) if state.complete), None)
    chosen: list[Path] = []
    for state in ordered if newest else ():
        if missing <= 0:
            break
        if state is not newest and newest and state.written <= newest.written:
            chosen.append(state.path)
            missing -= state.bytes
    return tuple(chosen) if missing <= 0 else ()


def _memory(state: GuardState) -> Verdict | None:
    if state.look.memory is None:
        return None
    left, total = state.look.memory
    if left >= max(LEAST_MEMORY, int(total * LOW_MEMORY)):
        return None
    text = f"{size(left)} of {size(total)} of this machine's memory left: the kernel may kill the trainer"
    return Warn("memory.low", text)


def _stop_for(state: GuardState, code: str, text: str) -> Stop:
    return Stop(code, f"{text}{_last_good(state)}")


def _last_good(state: GuardState) -> str:
    """As far as it is judged by now; the end of the run names it in any case."""
    good = [c.file for c in state.checkpoints if c.usable and (c.sha256 or c.bytes > AT_ONCE)]
    return f"; the last good checkpoint is {good[-1]}" if good else ""


GUARDS: tuple[GuardRule, ...] = (
    GuardRule(("loss.nan", "loss.infinite"), "the trainer's mean loss is NaN or infinite", _loss),
    GuardRule(("weights.nan",), "a checkpoint contains NaN", _weights),
    GuardRule(("weights.zero",), "a checkpoint was not trained: its weights are still zero", _untrained),
    GuardRule(("loss.diverged",), "the smoothed loss stays far above the best", _diverged),
    GuardRule(("progress.stalled",), "the trainer makes no progress any more", _stalled),
    GuardRule(("disk.full",), "the next checkpoint would not fit on the disk", _disk),
    GuardRule(("memory.low",), "the machine's memory is nearly full", _memory),
)


def decide(state: GuardState) -> Iterator[Verdict]:
    for guard in GUARDS:
        if (verdict := guard.decide(state)) is not None:
            yield verdict


LOOK_SECONDS = 2.0
STATE = re.compile(r".*-state|checkpoint-\d+")
"""The state folders of sd-scripts (library/checkpoint_io.py:80), of musubi-tuner, and of diffusers' examples."""
MEASURE_SECONDS = 1.0


class GuardObserver:
    """Guards one run by the policy in its record."""

    def __init__(self, recorder: Recorder, screen: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` never goes back, and stands still while the machine sleeps."""
        self._recorder = recorder
        self._screen = screen
        self._clock = clock
        guard = recorder.now.guard
        now = clock()
        self._state = GuardState(policy=guard.policy, now=now, since=now, save_bytes=guard.save_bytes)
        self._looked = 0.0
        self._told: set[str] = {note.code for note in recorder.now.notes}
        self._stopped = False

    def event(self, event: Event) -> None:
        self._state = after_event(self._state, event, self._clock())

    def tick(self) -> Stop | None:
        """Decide; the first stop is the only one."""
        now = self._clock()
        self._state = replace(self._state, now=now, checkpoints=self._recorder.now.checkpoints)
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._state = after_readings(self._state, look(self._recorder), now)
        if self._stopped:
            return None
        for verdict in decide(self._state):
            match verdict:
                case Stop():
                    self._stopped = True
                    return verdict
                case Warn():
                    if verdict.code not in self._told:
                        self._told.add(verdict.code)
                        self._tell(verdict.code, verdict.text)
                case Prune():
                    self._prune(verdict)
        return None

    def _tell(self, code: str, text: str) -> None:
        self._recorder.note(code, text)
        self._screen.event(f"WARNING {code}: {text}", lasting=True)

    def _prune(self, verdict: Prune) -> None:
        """Only state folders that lie in the output folder itself, whatever the decision says."""
        output = self._recorder.run_dir / self._recorder.now.output_dir
        self._tell(verdict.code, verdict.text)
        for folder in verdict.folders:
            if folder.parent == output and STATE.fullmatch(folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        self._state = replace(self._state, short=0)


def look(recorder: Recorder) -> Readings:
    run_dir, record = recorder.run_dir, recorder.now
    output = run_dir / record.output_dir
    states, free, at_start = _states(output), free_bytes(run_dir), record.guard.quota_free
    if at_start is not None:  # the file system's number is that of a whole cluster
        used = used_bytes(run_dir, time.monotonic() + MEASURE_SECONDS, time.monotonic)
        free = None if used is None else max(0, at_start - used)  # what there was, less what is written
    return Readings(
        log=_size(run_dir / record.log),
        output=_tree_size(output),
        free=free,
        # by what the record knows: opening every header again at every look would cost more than all the rest
        writing=any(not c.complete and not c.removed for c in record.checkpoints)
        or any(not state.complete and time.time() - state.written < FRESH for state in states),
        states=states,
        memory=available(),
    )


def _states(output: Path) -> tuple[StateFolder, ...]:
    found: list[StateFolder] = []
    with contextlib.suppress(OSError):
        for path in output.iterdir():
            with contextlib.suppress(OSError):
                status = path.lstat()
                if STATE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    complete = any(path.glob(f"{LAST_OF_STATE}*"))
                    found.append(StateFolder(path, status.st_mtime, _tree_size(path), complete))
    return tuple(found)


def _tree_size(folder: Path) -> int:
    """Bytes of the files in a folder and in the folders in it."""
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            total += _size(path) if not path.is_dir() else sum(_size(inner) for inner in path.iterdir())
    return total


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
