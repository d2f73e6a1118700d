"""The checkpoints in an output folder, their names in the whole run, and which are being written at this moment.

An attempt that numbers its files from 1 again calls its first epoch after two ``name+000002-000001.safetensors``. Once
its trainer is gone, the file becomes ``name-000003.safetensors``, as in a run that was never cut. States keep their
names.

The trainer writes in place (library/checkpoint_io.py:179, networks/lora.py save_weights): a file is there before it is
whole. A safetensors file says in its first bytes how long it will be; zip files (``.ckpt``, ``.pt``, ``optimizer.bin``)
have their directory at the end; a state folder gets its random states last (accelerate's save_accelerator_state).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from kohya_runner.artefact.lora import inspect, mark
from kohya_runner.artefact.safetensors_header import HeaderError, read_header
from kohya_runner.record.record import Record, SavedCheckpoint
from kohya_runner.record.run_paths import MARK
from kohya_runner.safe_files import special, status

FRESH = 10.0
"""Seconds within which a file that says nothing about its length must have grown to count as being written."""

_ZIPS = (".ckpt", ".pt", ".pth", ".bin")
LAST_OF_STATE = "random_states_"


def being_written(output_dir: Path, now: float) -> Path | None:
    """A checkpoint or state that is not whole yet, None if there is none."""
    for path, facts in _files(output_dir):
        if _unfinished(path, facts, now):
            return path
    return None


def _files(output_dir: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of the folder and of the folders in it (states, diffusers models), and the state folders."""
    for path, facts in _files_of(output_dir):
        yield path, facts
        if path.is_dir():
            for inside, known in _files_of(path):
                yield inside, known
                if inside.is_dir():  # the U-Net in a state of diffusers' examples
                    yield from _files_of(inside)


def _files_of(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        with contextlib.suppress(OSError):  # removed in the meantime
            yield path, path.stat()


def _unfinished(path: Path, status: os.stat_result, now: float) -> bool:
    fresh = abs(now - status.st_mtime) < FRESH
    if path.is_dir():
        state = path.name.endswith("-state") or path.name.startswith("checkpoint-")
        return fresh and state and not any(path.glob(f"{LAST_OF_STATE}*"))
    try:
        if path.suffix == ".safetensors":
            return status.st_size < read_header(path).total
        return fresh and path.suffix in _ZIPS and not special(path) and not zipfile.is_zipfile(path)
    except HeaderError:
        return fresh
    except OSError:
        return False


ANEW = "was written anew after it was recorded"
SUFFIXES = (".safetensors", ".ckpt", ".pt")
PIPELINES = ("unet/diffusion_pytorch_model.safetensors", "checkpoint-*/unet/diffusion_pytorch_model.safetensors")
"""The trained part of a diffusers pipeline, and of the states that its examples save."""
_EPOCH = re.compile(r"(?:\+(\d{6}))?-(\d{6})\.")  # EPOCH_FILE_NAME, library/train_util.py
_STEP = re.compile(r"-step(\d{8})\.|^checkpoint-(\d+)/")  # STEP_FILE_NAME, library/train_util.py; diffusers' states
_OF_AN_ATTEMPT = re.compile(
    rf"(?P<name>[^/]+){re.escape(MARK)}(?P<before>\d{{6}})(?:-(?P<epoch>\d{{6}}))?(?P<suffix>\.\w+)"
)


def found(
    output_dir: Path, known: tuple[SavedCheckpoint, ...], earlier: Mapping[str, str] = MappingProxyType({})
) -> tuple[SavedCheckpoint, ...]:
    """The known ones, those that are gone marked so, and the new ones in the order in which they were written.

    ``earlier``: files that lay there before the run, and their marks. All stays as it is known where the folder is
    there and cannot be listed, as of a network volume that does not answer.
    """
    here = _listed(output_dir)
    if here is None:
        return known
    names = {checkpoint.file for checkpoint in known}
    old = tuple(_still(checkpoint, here.get(checkpoint.file)) for checkpoint in known)
    new = {name: path for name, path in here.items() if name not in names}
    return (*old, *(_described(n, path) for n, path in new.items() if n not in earlier or _mark(path) != earlier[n]))


def marks(output_dir: Path) -> dict[str, str]:
    """Every checkpoint in the folder, and what tells it from a later file of its name."""
    return {name: _mark(path) for name, path in (_listed(output_dir) or {}).items()}


def doubts(output_dir: Path, kept: Iterable[SavedCheckpoint]) -> dict[str, str]:
    """By its name what is no longer right with a file that was found whole: the rest of a sentence about it."""
    whole = {c.file: c for c in kept if c.complete and not c.removed}
    now = found(output_dir, tuple(whole.values()))[: len(whole)]
    return {c.file: "is gone" if c.removed else c.problem or ANEW for c in now if c != whole[c.file]}


def _mark(path: Path) -> str:
    there = status(path)
    return mark(there) if there else ""


def _listed(output_dir: Path) -> dict[str, Path] | None:
    dated: list[tuple[float, str, Path]] = []
    try:
        for path in (*output_dir.iterdir(), *(found for name in PIPELINES for found in output_dir.glob(name))):
            with contextlib.suppress(OSError):
                there = path.stat()
                if path.suffix in SUFFIXES and (path.suffix == ".safetensors" or stat.S_ISREG(there.st_mode)):
                    dated.append((there.st_mtime, path.relative_to(output_dir).as_posix(), path))
    except FileNotFoundError:
        return {}
    except OSError:
        return None
    return {name: path for _, name, path in sorted(dated)}


def _still(checkpoint: SavedCheckpoint, path: Path | None) -> SavedCheckpoint:
    if path is None:
        return checkpoint.model_copy(update={"removed": True})
    if checkpoint.complete and (checkpoint.bytes, checkpoint.written) == _size(path):
        return checkpoint.model_copy(update={"removed": False})
    now = _described(checkpoint.file, path)
    return now.model_copy(update={"epoch": checkpoint.epoch if now.epoch is None else now.epoch})


def _described(name: str, path: Path) -> SavedCheckpoint:
    epoch, step = _EPOCH.search(name), _STEP.search(name)
    length, written = _size(path)  # before it is read: what comes while it is read is seen at the next look
    facts = inspect(path) if path.suffix == ".safetensors" else None
    complete = facts.complete if facts else _rests(path)
    return SavedCheckpoint(
        file=name,
        bytes=length,
        written=written,
        modules=facts.modules if facts else 0,
        epoch=int(epoch.group(1) or 0) + int(epoch.group(2)) if epoch else None,
        step=int(step.group(1) or step.group(2)) if step else None,
        complete=complete,
        family=facts.family if facts else "",
        problem=facts.problem if facts else "" if complete else "is incomplete",
    )


def _size(path: Path) -> tuple[int, int]:
    """Bytes, and when it was written in nanoseconds."""
    there = status(path)  # it may have been removed by save_last_n_epochs in the meantime
    return (there.st_size, there.st_mtime_ns) if there else (0, 0)


def _rests(path: Path) -> bool:
    """Whether a file of another kind has not grown for a while."""
    there = status(path)
    return there is not None and there.st_size > 0 and abs(time.time() - there.st_mtime) >= FRESH


def run_name(file: str) -> str:
    """What the file is called in the whole run; the same for one that is called so already."""
    match = _OF_AN_ATTEMPT.fullmatch(file)
    if match is None:
        return file
    number = "" if match["epoch"] is None else f"-{int(match['before']) + int(match['epoch']):06d}"
    return f"{match['name']}{number}{match['suffix']}"


def renamed(output_dir: Path, record: Record) -> Record:
    """Rename what is whole; the record with the new names. What would be overwritten keeps its name."""
    for checkpoint in record.checkpoints:
        source, target = output_dir / checkpoint.file, output_dir / run_name(checkpoint.file)
        if checkpoint.complete and not checkpoint.removed and source != target and not target.exists():
            with contextlib.suppress(OSError):
                source.rename(target)
    checkpoints = with_run_names(output_dir, record.checkpoints)
    names = {old.file: new.file for old, new in zip(record.checkpoints, checkpoints, strict=True)}
    return record.changed(checkpoints=checkpoints, final=names.get(record.final, record.final))


def with_run_names(output_dir: Path, checkpoints: Iterable[SavedCheckpoint]) -> tuple[SavedCheckpoint, ...]:
    """The same, where a runner was killed between renaming and writing it down."""
    named = [(c, output_dir / c.file, output_dir / run_name(c.file)) for c in checkpoints]
    return tuple(
        c.model_copy(update={"file": run_name(c.file)}) if new.exists() and not old.exists() else c
        for c, old, new in named
    )
