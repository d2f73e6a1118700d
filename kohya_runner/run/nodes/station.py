"""How the machines of one run speak, by files in the workspace, which they share, and whether they train together.

Each machine alone writes its own, again every few seconds and each time with another number: so a file of an earlier
start is told from a living one, and no clocks are compared.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from typing_extensions import Self

from kohya_runner import errors
from kohya_runner.diagnosis import events
from kohya_runner.engines.arguments import Command
from kohya_runner.machine.rendezvous import ALONE, Rendezvous
from kohya_runner.record.process_identity import ProcessId
from kohya_runner.record.run_paths import node_file
from kohya_runner.run.observers import Stop
from kohya_runner.run.stop_sequence import ProcessGroup, environment_of
from kohya_runner.run.supervise import POLL
from kohya_runner.safe_files import write_text

WAIT = "KOHYA_RUNNER_NODES_WAIT"
"""Seconds in which each machine must see the others, and after which a silent one counts as lost."""
MEETING_SECONDS = 180.0  # NFS shows a new file after a minute at most (acdirmax)
BEAT = 2.0
LEAVING = 30.0
"""Seconds for a trainer to end once the first machine's has ended well, and for the others to see an early end."""
LAST_WORDS = 10.0
"""Seconds to hear of another machine's end where this one's trainer failed: the cause may lie there."""


class Order(BaseModel):
    """What the others start: the first machine's command. ``log`` is its log, in the run's folder."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    needs: tuple[str, ...]
    log: str
    world: int


class Presence(BaseModel):
    """What a machine says. ``met``: the tokens of those that the first has seen; ``code``: it ended, and how."""

    version: Literal[1] = 1
    token: str
    beat: int = 0
    host: str
    met: dict[int, str] = {}
    order: Order | None = None
    code: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    sign: Presence
    when: float  # of the last change, by our own clock
    living: bool  # it changed while we looked


class Station:
    """This machine's place in the meeting; an observer of its trainer, which ends when another machine does."""

    def __init__(self, folder: Path, place: Rendezvous, environ: Mapping[str, str]) -> None:
        """``folder`` holds the runs of the recipe's name."""
        self.place = place
        said = environ.get(WAIT, "")
        self._meeting_seconds = float(said) if said.isdecimal() else MEETING_SECONDS
        self._files = [node_file(folder, rank) for rank in range(place.machines)]
        self._others = range(1, place.machines) if place.rank == 0 else range(1)
        self._sign = Presence(token=secrets.token_hex(8), host=socket.gethostname())
        self._seen: dict[int, _Seen] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        try:
            self._files[0].parent.mkdir(parents=True, exist_ok=True)
            self._write()
        except OSError as fault:
            raise errors.PreflightError(
                f"{fault.filename}: {fault.strerror}", hint="choose another --workspace"
            ) from None
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say how it ended, and wait a while for those who have not seen it yet."""
        if fault is not None:
            code = fault.exit_code if isinstance(fault, errors.RunnerError) else 130
            self.say(code=code, why=str(fault) or kind.__name__ if kind else "")
        until = time.monotonic() + min(LEAVING, self._meeting_seconds)
        while not self._is_met() and time.monotonic() < until:
            time.sleep(POLL)
        self._over.set()
        self._thread.join(BEAT)

    def say(self, **changes: Any) -> None:
        """Say it now; what was said of the end is not taken back."""
        with self._lock:
            kept = {} if self._sign.code is None else {"code": self._sign.code, "why": self._sign.why}
            self._sign = self._sign.model_copy(update=changes | kept)
        with contextlib.suppress(OSError):
            self._write() if self.place.machines > 1 else None

    def event(self, event: events.Event) -> None:
        """The trainer's words are the recorder's."""

    def tick(self) -> Stop | None:
        """Whether another machine has ended, is lost, or was started again."""
        for rank, seen in ((r, found) for r, found in tuple(self._seen.items()) if found.living):
            sign, silent = seen.sign, time.monotonic() - seen.when
            if sign.code or (sign.code == 0 and rank == 0 and silent > LEAVING):
                return Stop("node.ended", f"{self._named(rank)} ended: {sign.why or f'exit code {sign.code}'}")
            if rank and self._sign.order and sign.token != self._sign.met.get(rank):
                return Stop("node.lost", f"{self._named(rank)} was started again")
            if sign.code is None and silent > self._meeting_seconds:
                return Stop("node.lost", f"{self._named(rank)} has given no sign for {silent:.0f} seconds")
        return None

    def begin(self, command: Command, log: Path, world: int) -> None:
        """Let the others start the training, once all of them are there.

        Raises:
            TrainingFailedError: one of them has ended.
            PreflightError: one of them does not come.
        """
        self._wait()
        if stop := self.tick():
            raise errors.TrainingFailedError(stop.why)
        env, needs = dict(command.env), tuple(sorted(command.needs))
        self.say(order=Order(argv=command.argv, cwd=str(command.cwd), env=env, needs=needs, log=str(log), world=world))

    def ordered(self) -> Order | None:
        """What to start; None where the first machine ended without a training. Raises as ``begin`` does."""
        self._wait()
        while (lead := self._seen[0]).sign.order is None and lead.sign.code is None:
            if stop := self.tick():
                raise errors.TrainingFailedError(stop.why)
            time.sleep(POLL)
        return lead.sign.order

    def last_words(self) -> Iterator[str]:
        """How other machines ended, where this one's trainer failed."""
        until = time.monotonic() + LAST_WORDS
        while (stop := self.tick()) is None and self._others and time.monotonic() < until:
            time.sleep(POLL)
        yield from [stop.why] if stop else []

    def outlast(self) -> Presence | None:
        """Wait for the first machine's end; what it said last, None where it is lost."""
        while self._seen[0].sign.code is None:
            if time.monotonic() - self._seen[0].when > self._meeting_seconds:
                return None
            time.sleep(POLL)
        return self._seen[0].sign

    def _is_met(self) -> bool:
        """Whether the first has seen all of the others, or this one."""
        if self.place.rank == 0:
            return len(self._sign.met) == len(self._others)
        lead = self._seen.get(0)
        return lead is not None and lead.sign.met.get(self.place.rank) == self._sign.token

    def _wait(self) -> None:
        until = time.monotonic() + self._meeting_seconds
        while not self._is_met():
            if time.monotonic() > until:
                living = {rank for rank, seen in self._seen.items() if seen.living}
                absent = ", ".join(self._named(rank) for rank in self._others if rank not in living) or "machine 0"
                text = f"{absent} was not seen for {self._meeting_seconds:.0f} seconds in {self._files[0].parent}"
                hint = f"the workspace must be one folder that all machines see under one path; later starts: ${WAIT}"
                raise errors.PreflightError(text, hint=f"{hint}=SECONDS")
            time.sleep(POLL)

    def _named(self, rank: int) -> str:
        seen = self._seen.get(rank)
        return f"machine {rank} ({seen.sign.host})" if seen else f"machine {rank}"

    def _beat(self) -> None:
        while not self._over.wait(BEAT if self._is_met() else BEAT / 4):
            for rank in self._others:
                self._look(rank)
            with contextlib.suppress(OSError):
                self._write()

    def _look(self, rank: int) -> None:
        try:
            sign = Presence.model_validate_json(self._files[rank].read_bytes())
        except (OSError, ValidationError):
            return
        before = self._seen.get(rank)
        if before and (sign.token, sign.beat) == (before.sign.token, before.sign.beat):
            return
        living = before is not None or sign.met.get(self.place.rank) == self._sign.token
        self._seen[rank] = _Seen(sign, time.monotonic(), living)
        if self.place.rank == 0 and before and self._sign.order is None and sign.token != self._sign.met.get(rank):
            self.say(met={**self._sign.met, rank: sign.token})

    def _write(self) -> None:
        with self._lock:
            self._sign = self._sign.model_copy(update={"beat": self._sign.beat + 1})
            write_text(self._files[self.place.rank], self._sign.model_dump_json(), 0o600)


ON_ITS_OWN = Station(Path(), ALONE, {})  # of a launch on one machine: it waits for nobody and writes nothing


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
