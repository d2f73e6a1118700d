"""What a place is: another machine, or an engine that finds one, and what each kind of place must be able to do.

Nothing here schedules or queues. A place hands one packed recipe to what exists (an API, sbatch, sky, modal, ssh), says
how it stands, brings files back, and stops what is paid for. Every machine runs the same command:
``kohya-runner launch RECIPE --resume --once``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from kohya_runner import hub

StayPhase = Literal["renting", "sending", "waiting", "running", "ended", "returned", "lost"]
"""Of a stay, in order; ``waiting`` is a queue. ``returned``: the results are here and their hashes are right."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What the command line asks of a place. None leaves it to the place's settings."""

    gpu: str | None = None
    gpus: int = 1  # of one node: launch.num_processes
    nodes: int = 1
    spot: bool = False
    max_price: float | None = None  # dollars an hour, for all nodes together
    max_hours: float | None = None
    vram_bytes: int | None = None  # the plan's estimate for one GPU, None where it has none
    disk_bytes: int | None = None  # what the run needs on the other machine


@dataclass(frozen=True, slots=True)
class RemoteOffer:
    """A machine that can be had now. ``spec`` is what the place needs to take exactly this one."""

    gpu: str
    gpus: int
    price: float | None  # dollars an hour, None where the place does not say
    where: str = ""
    note: str = ""
    spec: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One recipe, packed: ``pack`` holds ``recipe.yaml`` and each file it names, by relative paths."""

    name: str
    number: str  # of the run here: runs/NAME/NUMBER
    pack: Path
    pack_bytes: int
    ask: Ask
    options: tuple[str, ...] = ()  # of launch on the other machine: --trust KEY, --allow CODE, ...
    secrets: tuple[str, ...] = ()  # names of variables that the run needs there (HF_TOKEN); never values

    def values(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The secrets with their values, as far as they are set here: for the place's own mechanism alone."""
        known = {**environ, "HF_TOKEN": hub.access(environ).token or ""}
        return {name: known[name] for name in self.secrets if known.get(name)}


class Stay(BaseModel):
    """What is known about a recipe on another machine: ``remote.json`` in the run's folder, written after every step.

    It is enough to find what is paid for again, from any later command.
    """

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    place: str
    kind: str
    phase: StayPhase
    name: str
    number: str
    ticket: dict[str, str] = {}  # what the place calls it: a pod's id, a job's number, an address
    root: str = ""  # the folder of this stay on the other machine; its workspace
    gpu: str = ""
    price: float | None = None  # dollars an hour
    asked: float = 0.0  # seconds since 1970
    paid_from: float | None = None
    paid_until: float | None = None  # None: still billed, or never was
    max_hours: float | None = None
    code: int | None = None  # the exit code of launch there, once it ended
    said: str = ""  # by the place, when it was last asked
    note: str = ""  # the last step, for a person: told when it changes
    released: bool = False  # nothing of it is paid for any more
    seal: str = ""  # what this machine's own key makes of all the rest: nobody else's word is acted upon

    @property
    def is_open(self) -> bool:
        """Whether anything is still to be done, here or there."""
        return self.phase not in ("returned", "lost") or not self.released

    def overdue(self, now: float) -> bool:
        """Whether it has run for longer than ``--max-hours``; the other machine has a timer of its own, too."""
        return self.max_hours is not None and now > (self.paid_from or self.asked) + 3600 * self.max_hours

    def cost(self, now: float) -> float | None:
        """What it cost so far; None where no price is known, or nothing was paid for."""
        if self.price is None or self.paid_from is None:
            return None
        return self.price * max(0.0, (self.paid_until or now) - self.paid_from) / 3600

    def changed(self, **values: object) -> Stay:
        return Stay.model_validate({**self.model_dump(), **values})


@dataclass(frozen=True, slots=True)
class Standing:
    """How a stay stands at its place now. ``code`` is the exit code of ``launch`` there, None where nobody knows."""

    phase: StayPhase
    text: str
    code: int | None = None
    billed: bool = False


@dataclass(frozen=True, slots=True)
class Billed:
    """Something of ours that a place asks money for, whether a run here knows it or not."""

    place: str
    what: str
    price: float | None
    text: str
    run: str | None = None  # NAME/NUMBER


class RemotePlace(BaseModel):
    """A kind of place with its settings. A new one is a subclass and a line in ``KINDS`` (kinds.py).

    Its fields are its settings: ``places: {NAME: {kind: KIND, FIELD: VALUE}}`` of config.yaml, read and checked by
    ``kinds.py``, with defaults where it may be used by kind alone. Each has a ``Field(description=...)``: errors and
    docs say it. A path of this machine is a text that may begin with ``~/``.
    Errors are ``RemoteError`` in plain words, with what is still billed and the command that ends it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    KIND: ClassVar[str]
    name: str  # as the settings call it, else the kind

    def problems(self, ask: Ask) -> tuple[str, ...]:
        """What this place cannot do of what is asked, and what to write instead. Asks nobody."""
        return tuple(self._problems(ask))

    def _problems(self, ask: Ask) -> Iterator[str]:  # noqa: ARG002 - for most everything can be asked
        yield from ()

    @abstractmethod
    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """What can be had, the cheapest first; one offer without a price where the place does not show any."""

    @abstractmethod
    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        """The files that are handed over and the commands a person would type, by file name (``--render``)."""

    @abstractmethod
    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        """Rent, send and start detached; ``save`` after each step. A stay that began already goes on where it is."""

    @abstractmethod
    def standing(self, stay: Stay) -> Standing:
        """Ask the place."""

    @abstractmethod
    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        """The stay's run folder into ``into``: the small files a screen reads, or everything. Repeatable."""

    @abstractmethod
    def stop(self, stay: Stay, *, now: bool) -> None:
        """Ask the run to stop at its next save, or at once."""

    @abstractmethod
    def release(self, stay: Stay, *, verified: bool) -> Stay:
        """Stop what is paid for. Nothing that was not verified is deleted."""

    def billed(self) -> tuple[Billed, ...]:
        """What is billed there now; nothing where nobody asks for money."""
        return ()
