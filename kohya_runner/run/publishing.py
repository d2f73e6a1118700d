"""The names of a run that was never cut, for what an attempt had to call by a name of its own.

``name+000002-000001.safetensors`` is the first epoch of an attempt that began after two: the third of the run. While
its trainer runs it is called so; when that is gone, the file becomes ``name-000003.safetensors``. States keep their
names.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from kohya_runner.record.resume_way import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kohya_runner.record.record import Record, SavedCheckpoint

_OWN = re.compile(rf"(?P<name>[^/]+){re.escape(MARK)}(?P<before>\d{{6}})(?:-(?P<epoch>\d{{6}}))?(?P<suffix>\.\w+)")


def run_name(file: str) -> str:
    """What the file is called in the whole run; the same for one that is called so already."""
    match = _OWN.fullmatch(file)
    if match is None:
        return file
    number = "" if match["epoch"] is None else f"-{int(match['before']) + int(match['epoch']):06d}"
    return f"{match['name']}{number}{match['suffix']}"


def published(output_dir: Path, record: Record) -> Record:
    """Rename what is whole; the record with the new names. What would be overwritten keeps its name."""
    checkpoints = tuple(_published(output_dir, record.checkpoints))
    names = {old.file: new.file for old, new in zip(record.checkpoints, checkpoints, strict=True)}
    return record.changed(checkpoints=checkpoints, final=names.get(record.final, record.final))


def known(output_dir: Path, checkpoints: Iterable[SavedCheckpoint]) -> tuple[SavedCheckpoint, ...]:
    """The same, where a runner was killed between renaming and writing it down."""
    return tuple(_renamed(c) if _was_renamed(output_dir, c) else c for c in checkpoints)


def _published(output_dir: Path, checkpoints: Iterable[SavedCheckpoint]) -> Iterator[SavedCheckpoint]:
    for checkpoint in checkpoints:
        source, target = output_dir / checkpoint.file, output_dir / run_name(checkpoint.file)
        if checkpoint.complete and not checkpoint.removed and source != target and not target.exists():
            with contextlib.suppress(OSError):
                source.rename(target)
        yield _renamed(checkpoint) if _was_renamed(output_dir, checkpoint) else checkpoint


def _was_renamed(output_dir: Path, checkpoint: SavedCheckpoint) -> bool:
    name = run_name(checkpoint.file)
    return name != checkpoint.file and not (output_dir / checkpoint.file).exists() and (output_dir / name).exists()


def _renamed(checkpoint: SavedCheckpoint) -> SavedCheckpoint:
    return checkpoint.model_copy(update={"file": run_name(checkpoint.file)})
