"""How a trainer ended, and why it was stopped, if it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run should not go on: a short name for programs, such as ``loss.nan``, and a sentence for a person."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trainer ended. Of a process that is not our child neither code nor signal is known.

    ``stopped`` is why it was stopped: the signal that the runner got, or what the ``stop`` of an observer says.
    """

    started: float
    ended: float
    returncode: int | None = None
    signal: int | None = None
    peak_rss: int | None = None  # bytes, of the largest process
    stopped: str = ""
    stop: Stop | None = None
    fault: Exception | None = None
