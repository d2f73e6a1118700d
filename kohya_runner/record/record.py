"""``record.json``: what a run was asked, on what it ran, and what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from kohya_runner import errors
from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.recipe.finish import Guard
from kohya_runner.record.process_identity import ProcessId, boot_seconds
from kohya_runner.record.run_paths import LOG, OUTPUT, RunPaths
from kohya_runner.safe_files import PRIVATE, link_out, open_file, write_text

RecordedState = Literal["starting", "running", "succeeded", "failed", "stopped", "lost"]
RunState = Literal["starting", "running", "orphaned", "succeeded", "failed", "stopped", "lost", "unreadable"]
"""The recorded state, corrected by which processes live. ``orphaned``: the trainer runs and its runner is gone."""

UNDER_WAY = frozenset({"starting", "running"})
"""Recorded of a run that has a runner, or had one until it was killed."""
LIVE = UNDER_WAY | {"orphaned"}
"""There is a process that can be watched or stopped."""
CUT = frozenset({"failed", "stopped", "lost"})
"""What a later launch can go on with."""


LARGEST = 64 << 20
"""Bytes; a larger file is refused."""


class RecordError(errors.UsageError):
    """A record that cannot be read."""


@dataclass(frozen=True, slots=True)
class DoneBefore:
    """Steps and epochs of a run that earlier attempts did, so that the trainer of this attempt does not count them.

    ``planned`` is the whole run's number of steps, None where it is not known. ``steps_per_epoch`` is None for a
    trainer that says itself when an epoch begins.
    """

    steps: int = 0
    epochs: int = 0
    planned: int | None = None
    steps_per_epoch: int | None = None


def _inside(value: str) -> str:
    if value.startswith("/") or "\0" in value or ".." in value.split("/"):
        message = "leads out of the run's folder"
        raise ValueError(message)
    return value


PathInside = Annotated[str, AfterValidator(_inside)]
"""A record may come from a stranger: the paths in it must stay inside the run's folder."""


class RecordPart(BaseModel):
    """Strict, unchangeable; keys of later versions are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class RecordedTrainer(RecordPart):
    path: str = ""
    commit: str = ""
    python: str = ""
    packages: dict[str, str] = {}


class Timings(RecordPart):
    """Seconds since 1970, None for what has not happened; ``seconds_per_step`` is the last that the trainer showed."""

    began: float | None = None  # the first command on this machine, as start_training.sh tells it
    installed: float | None = None  # and when the trainer's environment was there
    queued: float | None = None
    fetching: float = 0.0  # seconds from there to the start that went to files of the Hub
    started: float | None = None
    first_step: float | None = None
    ended: float | None = None
    seconds_per_step: float | None = None
    boot: float | None = None  # the trainer's start by the clock of this boot, which nobody sets
    ran: float | None = None  # seconds from there to the end

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has run until now."""
        if self.ran is not None or self.ended is None or self.started is None:
            return self.gone if self.ran is None else self.ran
        return max(0.0, self.ended - self.started)

    @property
    def gone(self) -> float | None:
        """Seconds since the trainer's start; the date tells them only where the machine was started anew since."""
        if self.started is None:
            return None
        now = boot_seconds()
        return max(0.0, time.time() - self.started) if self.boot is None or self.boot > now else now - self.boot


class SavedCheckpoint(RecordPart):
    """One file of the output folder; of a removed one (``save_last_n_epochs``) the facts are kept."""

    file: PathInside
    bytes: int = 0
    written: int = 0  # its mtime in nanoseconds: with another one it is read again
    modules: int = 0
    epoch: int | None = None
    step: int | None = None
    complete: bool = False
    removed: bool = False
    sha256: str = ""
    family: str = ""  # where the file tells
    checked: bool = False  # its numbers were read, too; of files over 1 GB only at the end of the run
    nonfinite: int = 0  # tensors that hold NaN or infinity
    untrained: bool = False  # all weights that begin as zeros still are
    problem: str = ""  # the rest of a sentence about the file, "" for one without fault

    @property
    def usable(self) -> bool:
        """Whether it is there, whole, and without a known fault."""
        return self.complete and not self.removed and not self.problem


class Note(RecordPart):
    """What the guards saw and did not stop the run for."""

    time: float
    code: str
    text: str


class Guarding(RecordPart):
    """What the guards of a run need, so that a runner that adopts the run guards it the same way."""

    policy: Guard = Guard()
    save_bytes: int = 0  # the largest checkpoint and state that are expected, together
    quota_free: int | None = None  # room at the start, where the file system's own number is another's
    oom_kills: int | None = None  # the kernel's count at the start


class Exit(RecordPart):
    """How the process ended; code and signal are unknown of an adopted one."""

    code: int | None = None
    signal: int | None = None
    why: str = ""
    stop: str = ""  # the code of the observer's ``Stop`` that ended it
    asked: bool = False  # a person stopped it: Ctrl-C, or kohya-runner stop
    cause: str = ""  # what it ended of, where the log or the kernel tells: ``memory.vram``, ``disk.full`` ...
    peak_rss: int | None = None


class Record(RecordPart):
    """One run. Paths are relative to the run's folder where they lie in it, so that a workspace can be moved."""

    version: Literal[1] = 1
    state: RecordedState = "starting"
    run_id: PathInside
    name: PathInside
    earlier: dict[str, str] = {}  # files that lay in the output folder before this attempt, and their stamps
    practice: bool = False
    rehearsal: bool = False
    attempt: int = 1  # how often it was started: attempts.json has them all
    first_step: int = 0  # steps of the run that were done before this attempt
    bar_offset: int | None = None  # what the trainer's bar lacks of the whole run's step; None: first_step
    first_epoch: int = 0  # epochs of the run that the trainer of this attempt does not count
    epoch_steps: int | None = None  # steps of an epoch, of a trainer that does not say when one begins
    options: tuple[str, ...] = Field(default=(), strict=False)  # the trainer's, as a run that begins anew has them
    recipe: dict[str, Any] = {}
    argv: tuple[str, ...] = Field(strict=False)
    cwd: str
    env: dict[str, str] = {}
    trainer: RecordedTrainer = RecordedTrainer()
    fingerprint: str = ""  # equal for two launches of the same options, data and trainer
    dataset: dict[str, Any] = {}
    findings: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    gpus: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    log: PathInside = LOG
    output_dir: PathInside = OUTPUT
    final: PathInside
    holds: Annotated[
        ExpectedTensor | None,
        BeforeValidator(lambda value: ExpectedTensor.read(value) if isinstance(value, str) else value),
        PlainSerializer(lambda value: str(value or "")),
    ] = None  # of the last file; None for a LoRA, whose modules are counted
    timings: Timings = Timings()
    steps_planned: int | None = None
    steps_seen: int = 0
    epochs_planned: int | None = None
    epochs_seen: int = 0
    loss: float | str | None = None  # "nan" and "inf" are no JSON numbers
    modules: int | None = None
    checkpoints: tuple[SavedCheckpoint, ...] = Field(default=(), strict=False)
    guard: Guarding = Guarding()
    notes: tuple[Note, ...] = Field(default=(), strict=False)
    nan_step: int | None = None  # the first whose loss was no finite number
    runner: ProcessId | None = None
    process: ProcessId | None = None
    exit: Exit | None = None
    budget: dict[str, Any] = {}  # as the recipe has it
    finish: dict[str, Any] = {}  # what the recipe asks for after the run
    diagnosis: dict[str, Any] | None = None  # why it failed, as ``diagnose --json`` says it
    spending: dict[str, float] = {}  # seconds by purpose (run/spending.py), written at the end
    after: tuple[dict[str, Any], ...] = Field(default=(), strict=False)  # what was done after the run

    @property
    def before(self) -> DoneBefore:
        offset = self.first_step if self.bar_offset is None else self.bar_offset
        return DoneBefore(offset, self.first_epoch, self.steps_planned, self.epoch_steps)

    def changed(self, **values: Any) -> Record:
        return self.model_copy(update=values)


def ended_as(record: Record) -> type[errors.RunnerError] | None:
    """What a run's end is to a command, and so its exit code; None for one that succeeded or goes on."""
    end = record.exit or Exit()
    match record.state:
        case "stopped":
            return errors.CancelledError if end.why == "SIGINT" else errors.TerminatedError
        case "failed" | "lost" if end.stop:
            return errors.StalledError
        case "failed" | "lost":
            return errors.NoCheckpointError if end.code == 0 else errors.TrainingFailedError
        case _:
            return None


def why_ended(record: Record) -> str:
    """Why it ended, in words; "" where there is nothing to say."""
    end = record.exit or Exit()
    if record.state != "stopped" or end.why.startswith("stopped"):
        return end.why
    kept = [c.file for c in record.checkpoints if c.usable]
    saved = f"after saving {kept[-1]}" if kept else "before the first save"
    return f"stopped {'as you asked' if end.asked else f'by {end.why}'} at step {record.steps_seen}, {saved}"


def write(run_dir: Path, record: Record) -> None:
    """Put the record into the run's folder, whole or not at all."""
    write_text(RunPaths(run_dir).record, record.model_dump_json(indent=2) + "\n", PRIVATE)


def read(path: Path) -> Record:
    """The record in a file or a run's folder; ``RecordError`` names the file and what is wrong with it."""
    file = RunPaths(path).record if path.is_dir() else path
    try:
        links = [one for one in path.iterdir() if one.is_symlink()] if path.is_dir() else []
        if out := next((one for one in links if link_out(path, one)), None):  # what it leads to is not of the run
            raise RecordError(f"{out} is a link that leads out of the run's folder", hint="remove it")
        with open_file(file) as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise RecordError(f"{file}: too large for a record")
        return Record.model_validate_json(data)
    except OSError as fault:
        raise RecordError(f"{file}: {fault.strerror or fault}") from None
    except ValidationError as fault:
        detail = fault.errors(include_url=False, include_input=False)[0]
        place = ": ".join(filter(None, (str(file), ".".join(map(str, detail["loc"])), str(detail["msg"]))))
        raise RecordError(place, hint="it was written by hand or by another version") from None
