"""Which checkpoints are being written at this moment: a signal must wait for them.

The trainer writes in place (library/train_util.py:5890, networks/lora.py save_weights), so a file is there before it is
whole. A safetensors file says in its first bytes how long it will be; zip files (``.ckpt``, ``.pt``, ``optimizer.bin``)
have their directory at the end; a state folder gets its random states last (accelerate's save_accelerator_state).
"""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING

from kohya_runner.artefact.safetensors_header import HeaderError, read_header
from kohya_runner.safe_files import special

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

FRESH = 10.0
"""Seconds within which a file that says nothing about its length must have grown to count as being written."""

_ZIPS = (".ckpt", ".pt", ".pth", ".bin")
LAST_OF_STATE = "random_states_"


def being_written(output_dir: Path, now: float) -> Path | None:
    """A checkpoint or state that is not whole yet, None if there is none."""
    for path, status in _files(output_dir):
        if _unfinished(path, status, now):
            return path
    return None


def _files(output_dir: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of the folder and of the folders in it (states, diffusers models), and the state folders."""
    for path, status in _listed(output_dir):
        yield path, status
        if path.is_dir():
            for inside, known in _listed(path):
                yield inside, known
                if inside.is_dir():  # the U-Net in a state of diffusers' examples
                    yield from _listed(inside)


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
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
