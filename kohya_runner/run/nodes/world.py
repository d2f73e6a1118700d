"""Whether the processes of a run train together: each that trains by itself would write the same files, unnoticed."""

from __future__ import annotations

import time
from pathlib import Path

from kohya_runner.diagnosis import events
from kohya_runner.engines.arguments import Command
from kohya_runner.machine.rendezvous import Rendezvous
from kohya_runner.record.process_identity import ProcessId
from kohya_runner.run.observers import Stop
from kohya_runner.run.stop_sequence import ProcessGroup, environment_of

EVERY = 2.0


class WorldWatch:
    """Looks at the variables that torch gave each process of the trainer, until all of this machine's were seen."""

    def __init__(self, command: Command, log: Path, place: Rendezvous, world: int) -> None:
        """``world``: the processes that were planned, on all machines."""
        self._script = next((token.encode() for token in command.argv if token.endswith(".py")), b"")
        self._log, self._world = str(log), world
        each = world // place.machines
        self._missing = set(range(place.rank * each, (place.rank + 1) * each)) if world > 1 else set[int]()
        self._leader: ProcessId | None = None
        self._next = 0.0

    def started(self, leader: ProcessId) -> None:
        self._leader = leader

    def event(self, event: events.Event) -> None:
        """What the trainer says of it differs from script to script."""

    def tick(self) -> Stop | None:
        """Stops what nobody planned: as many trainings as processes, or processes of another number."""
        if not self._missing or self._leader is None or time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + EVERY
        for pid in ProcessGroup(self._leader, self._log).members():
            said = dict(text.partition(b"=")[::2] for text in environment_of(pid))
            if pid == self._leader.pid or not said or self._script not in _words(pid):
                continue
            rank, world = int(said.get(b"RANK", 0)), int(said.get(b"WORLD_SIZE", 1))
            self._missing.discard(rank)
            if world != self._world:
                text = f"the processes do not train together: process {pid} is {rank} of {world}, planned were "
                return Stop("world.size", f"{text}{self._world}; see launch.accelerate and {self._log}")
        return None


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
