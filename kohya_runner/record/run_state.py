"""The states of a run: those its record keeps, and those it is seen in."""

from __future__ import annotations

from typing import Literal

RecordedState = Literal["starting", "running", "succeeded", "failed", "stopped", "lost"]
RunState = Literal["starting", "running", "orphaned", "succeeded", "failed", "stopped", "lost", "unreadable"]
"""The recorded state, corrected by which processes live. ``orphaned``: the trainer runs and its runner is gone."""

UNDER_WAY = frozenset({"starting", "running"})
"""Recorded of a run that has a runner, or had one until it was killed."""
LIVE = UNDER_WAY | {"orphaned"}
"""There is a process that can be watched or stopped."""
CUT = frozenset({"failed", "stopped", "lost"})
"""What a later launch can go on with."""
