"""Checks each checkpoint: reads it from end to end once, in slices, so that the watch continues meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.artefact.content import Content, examining
from kohya_runner.artefact.lora import ALIKE
from kohya_runner.artefact.safetensors_header import HeaderError
from kohya_runner.record.record import SavedCheckpoint

SLICE = 0.1
"""Seconds of one look; a pass of the watch has a quarter of a second. A LoRA of 228 MB takes half a second in all."""
AT_ONCE = 1 << 30
"""Bytes; a larger file waits for the end of the run, so that it takes no disk and no core from the trainer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a checkpoint of this run must be; None and "" is what is not known."""

    modules: int | None = None
    family: str = ""


class CheckpointCheck:
    """Judges the checkpoints of one output folder, one after the other."""

    def __init__(self, output_dir: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        """``clock`` measures the slices."""
        self._output_dir = output_dir
        self._clock = clock
        self._file: SavedCheckpoint | None = None
        self._reading: Iterator[Content | None] = iter(())

    def check_some(self, checkpoints: tuple[SavedCheckpoint, ...], expected: Expected) -> tuple[SavedCheckpoint, ...]:
        """With what could be found out in one slice of time."""
        until = self._clock() + SLICE
        waiting = [c for c in checkpoints if _waits(c) and c.bytes <= AT_ONCE]
        while waiting and self._clock() < until:
            if (judged := self._read_on(waiting[0], expected)) is not None:
                return tuple(judged if c is waiting[0] else c for c in checkpoints)
        return checkpoints

    def check_all(self, checkpoints: tuple[SavedCheckpoint, ...], expected: Expected) -> tuple[SavedCheckpoint, ...]:
        """With all that is still to be found out."""
        return tuple(self._to_the_end(c, expected) if _waits(c) else c for c in checkpoints)

    def _to_the_end(self, checkpoint: SavedCheckpoint, expected: Expected) -> SavedCheckpoint:
        while True:
            if (judged := self._read_on(checkpoint, expected)) is not None:
                return judged

    def _read_on(self, checkpoint: SavedCheckpoint, expected: Expected) -> SavedCheckpoint | None:
        """A piece further; the checkpoint as it is judged when that was the last one."""
        if self._file != checkpoint:
            self._file, self._reading = checkpoint, examining(self._output_dir / checkpoint.file)
        try:
            found = next(self._reading)
        except (OSError, HeaderError) as fault:  # removed by save_last_n_epochs in the meantime, or written anew
            self._file = None
            return checkpoint.model_copy(update={"complete": False, "problem": f"could not be read: {fault}"})
        if found is None:
            return None
        self._file = None
        return judged(checkpoint, found, expected)


def judged(checkpoint: SavedCheckpoint, found: Content, expected: Expected) -> SavedCheckpoint:
    """With its hash and what is wrong with it."""
    return checkpoint.model_copy(
        update={
            "sha256": found.sha256,
            "checked": found.tensors > 0,
            "nonfinite": found.nonfinite,
            "untrained": found.untrained,
            "problem": checkpoint.problem or found.problem or _other(checkpoint, expected),
        }
    )


def _other(checkpoint: SavedCheckpoint, expected: Expected) -> str:
    """Why the file cannot be of this run."""
    same = checkpoint.family == expected.family or expected.family in ALIKE.get(checkpoint.family, ())
    if expected.family and checkpoint.family and not same:
        return f"is for {checkpoint.family}, the recipe trains {expected.family}"
    if expected.modules is not None and checkpoint.modules and checkpoint.modules != expected.modules:
        return f"contains {checkpoint.modules} modules, the trainer made {expected.modules}"
    return ""


def _waits(checkpoint: SavedCheckpoint) -> bool:
    return checkpoint.complete and not checkpoint.removed and not checkpoint.sha256
