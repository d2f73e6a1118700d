"""What becomes of the pod: decided from the record and from what was checked, before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kohya_runner.finish.runpod import Action
    from kohya_runner.record.record import Record

LEFT_ALONE = "SIGHUP"
"""The signal of a closed terminal: the one stop that nobody is there to answer for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the pod, after how many seconds, and why. ``action`` is "" for nothing."""

    action: Action | Literal[""]
    wait: float
    why: str


def decide(record: Record, *, problem: str, volume: bool) -> Decision:
    """Success: what was asked for. Failure: a stop after the grace period, never a termination. A person: nothing.

    ``problem`` is why the outputs are not as the record says, "" where they are; ``volume`` is whether they are on a
    network volume, which outlives the pod.
    """
    asked = record.finish.get("pod")
    if asked not in ("stop", "terminate"):
        return Decision("", 0, "not asked for")
    if record.practice:
        return Decision("", 0, "practice: the pod is left alone")
    if record.state == "stopped" and not (record.exit and record.exit.why == LEFT_ALONE):
        return Decision("", 0, "somebody stopped the run, and somebody is there")
    grace = float(record.finish.get("grace_minutes", 15.0)) * 60
    if record.state != "succeeded" or problem:
        return Decision("stop", grace, problem or f"the run {record.state}")
    if asked == "terminate" and not volume:
        return Decision("stop", 0, "not terminated: the outputs are not on a network volume and would be gone")
    return Decision("terminate" if asked == "terminate" else "stop", 0, "the run succeeded and its outputs are whole")
