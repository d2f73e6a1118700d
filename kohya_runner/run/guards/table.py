"""The table of guards: each says of a state why the run should not go on, or what a person should know."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.run.checkpoint_check import AT_ONCE
from kohya_runner.run.observers import Stop
from kohya_runner.text import duration, size

if TYPE_CHECKING:
    from kohya_runner.run.guards.state import GuardState, StateFolder

SLOW = 4
"""How much longer than between steps nothing may be heard while models load, kernels compile or samples are made."""
STEADY = 2
"""Steps after which the time of one is known: the first may compile for minutes."""
LOOKS = 2
"""So many looks in a row find too little room, before it counts."""
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
    """What every guard says now."""
    for guard in GUARDS:
        if (verdict := guard.decide(state)) is not None:
            yield verdict
