"""How a run is stopped: INT, wait, TERM, wait, KILL, and never while a checkpoint is being written."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.run.checkpoints import being_written
from kohya_runner.run.process_group import ProcessGroup

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_KILL = SIGNALS.index(signal.SIGKILL)
FORCED = 3  # the third request kills, whatever is being written
_UNKILLABLE = 30.0
_DYING = 2.0
_LOOK = 0.05
_ANSWER = 5.0
"""Seconds in which a volume must say what lies on it: a look that hangs must not hold the third request."""


@dataclass(frozen=True, slots=True)
class Grace:
    """How long each step may take, in seconds; ``save_s`` is how long a signal waits for a checkpoint."""

    int_s: float = 60.0
    term_s: float = 10.0
    save_s: float = 120.0

    def after(self, index: int) -> float:
        """How long to wait after the signal with this index was sent."""
        return (self.int_s, self.term_s, _UNKILLABLE)[index]


class StopSequence:
    """One stop, from the first request to the last signal. ``advance`` is called again and again and never waits."""

    def __init__(self, group: ProcessGroup, output_dir: Path, grace: Grace) -> None:
        """Nothing is sent before the first request."""
        self.group = group
        self.requests = 0
        self._output_dir = output_dir
        self._grace = grace
        self._index = 0
        self._due = 0.0

    @property
    def given_up(self) -> bool:
        """Whether even KILL did not help: the process is stuck in the kernel."""
        return self._index > _KILL and time.monotonic() > self._due

    def request(self) -> None:
        """Ask to stop; asking again goes to the next signal at once, a third time to the last one."""
        self.requests += 1
        self._due = time.monotonic()
        self._index = max(self._index, min(self.requests - 1, _KILL))

    def advance(self) -> None:
        """Send the next signal if its time has come and nothing is being written."""
        now = time.monotonic()
        if not self.requests or self._index > _KILL or now < self._due:
            return
        if self._sent(now):
            self._due = time.monotonic() + self._grace.after(self._index)
            self._index += 1

    def kill_remaining(self, in_a_hurry: Callable[[], bool]) -> None:
        """After the leader's end: kill what outlived it and writes no checkpoint any more; wait until it is gone."""
        until = time.monotonic() + self._grace.save_s
        while self.group.survivors() and time.monotonic() < until and not in_a_hurry():
            if not self.saving() and self.group.signal_unless(signal.SIGKILL, self.saving):
                break
            time.sleep(_LOOK)
        self.group.signal(signal.SIGKILL)
        until = time.monotonic() + _DYING
        while self.group.survivors() and time.monotonic() < until:
            time.sleep(_LOOK)

    def saving(self) -> bool:
        """Whether a checkpoint is being written, or its volume does not answer."""
        answer: list[bool] = []
        look = threading.Thread(
            target=lambda: answer.append(being_written(self._output_dir, time.time()) is not None), daemon=True
        )
        look.start()
        look.join(_ANSWER)
        return answer[0] if answer else True

    def _sent(self, now: float) -> bool:
        number = SIGNALS[self._index]
        if self._waits_for_save(now):
            return not self.saving() and self.group.signal_unless(number, self.saving)
        self.group.signal(number)
        return True

    def _waits_for_save(self, now: float) -> bool:
        return self.requests < FORCED and now < self._due + self._grace.save_s
