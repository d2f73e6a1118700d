"""Everything a command can end with, one class and one exit code each (docs/exit-codes.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from kohya_runner.findings import Finding


class RunnerError(Exception):
    """The base of every expected failure: a message, a hint, an exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", findings: Iterable[Finding] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings: tuple[Finding, ...] = tuple(findings)


class UsageError(RunnerError):
    """The command line names something that is not there."""

    exit_code = 2


class RecipeError(RunnerError):
    """The recipe, or what it says for the trainer, is wrong."""

    exit_code = 3


class PreflightError(RunnerError):
    """The recipe is right, but this run cannot succeed on this machine."""

    exit_code = 4


class TrainerError(RunnerError):
    """The trainer's sources or its Python are missing or broken."""

    exit_code = 5


class DatasetError(RunnerError):
    """Images or captions are not what the recipe says."""

    exit_code = 6


class RunExistsError(RunnerError):
    """This run is going on already, or was done before."""

    exit_code = 7


class TrainingFailedError(RunnerError):
    """The trainer ended with an error."""

    exit_code = 8


class StalledError(RunnerError):
    """The watchdog stopped a run that stalled or diverged."""

    exit_code = 9


class NoCheckpointError(RunnerError):
    """The trainer finished and left no usable checkpoint."""

    exit_code = 10


class PublishError(RunnerError):
    """The Hub took nothing, or not all of it."""

    exit_code = 11


class RemoteError(RunnerError):
    """A place refused, could not be reached, or what came back from it is not what it sent."""

    exit_code = 12


class CancelledError(RunnerError):
    """Stopped by Ctrl-C."""

    exit_code = 130


class TerminatedError(RunnerError):
    """Stopped by SIGTERM or SIGHUP."""

    exit_code = 143


STAGE_ERRORS: tuple[tuple[frozenset[str], type[RunnerError]], ...] = (
    (frozenset({"recipe", "args"}), RecipeError),
    (frozenset({"dataset", "image", "caption", "steps"}), DatasetError),
    (frozenset({"trainer"}), TrainerError),
    (frozenset({"model", "hub", "disk", "memory", "device", "budget"}), PreflightError),
)
"""Which error a finding of a stage becomes; where several apply, the first row wins."""


def error_for(stages: Iterable[str]) -> type[RunnerError]:
    present = set(stages)
    return next((kind for row, kind in STAGE_ERRORS if row & present), PreflightError)


def exit_code(findings: Iterable[Finding]) -> int:
    """0, or the code of the first stage that has errors."""
    stages = {finding.stage for finding in findings if finding.severity.value == "error"}
    return error_for(stages).exit_code if stages else 0
