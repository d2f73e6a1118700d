"""What a run left: whether a file is a whole LoRA or model, and of how many modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kohya_runner.artefact.lora import family_of, module_of
from kohya_runner.artefact.safetensors_header import PRACTICE, HeaderError, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLOCK_SLACK = 2.0
"""Seconds by which a file system's clock may be behind: network volumes and coarse time stamps."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A checkpoint as it lies there. ``problem`` is the rest of a sentence about the file, "" if it is whole."""

    path: Path
    bytes: int = 0
    tensors: int = 0
    modules: int = 0
    dtypes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()  # in the order of the names
    metadata: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether the file is all that its header declares."""
        return not self.problem

    @property
    def practice(self) -> bool:
        """Whether the practice trainer wrote it: nothing that uses or publishes a model may take it."""
        return PRACTICE in self.metadata


def inspect(path: Path) -> Artefact:
    """The facts of a safetensors file, from its header and its length; the tensors themselves are not read."""
    size = 0
    try:
        size = path.stat().st_size
        header = read_header(path)
    except FileNotFoundError:
        return Artefact(path, problem="does not exist")
    except OSError as fault:
        return Artefact(path, size, problem=f"cannot be read: {fault.strerror or fault}")
    except HeaderError as fault:
        return Artefact(path, size, problem=str(fault))
    names = [tensor.name for tensor in header.tensors]
    return Artefact(
        path,
        size,
        tensors=len(names),
        modules=len({module_of(name) for name in names}),
        dtypes=tuple(sorted({tensor.dtype for tensor in header.tensors})),
        names=tuple(names),
        shapes=tuple(tensor.shape for tensor in header.tensors),
        metadata=header.metadata,
        family=family_of(header),
        problem=header.length_problem(size) or ("" if names else "contains no tensors"),
    )


def judge(final: Path, started: float, expected_modules: int | None, *, practice: bool = False, holds: str = "") -> str:
    """Why a run's last file is not a result, as a whole sentence; "" if it is one.

    ``started`` is the run's start (seconds since the epoch): an older file is another run's. Practice files count only
    where practice was asked for. ``holds``: how the name of a tensor begins that must be in it; with ``:8`` at its end,
    the number of its inputs. Files of another kind
    than safetensors are looked at from outside alone.
    """
    try:
        status = final.stat()
    except OSError:
        return f"{final.name} was not written"
    if status.st_mtime < started - CLOCK_SLACK:
        return f"{final.name} is older than this run"
    if final.suffix != ".safetensors":
        return "" if final.is_dir() or status.st_size else f"{final.name} is empty"
    found = inspect(final)
    if not found.problem and holds and (lacks := _lacks(found, *holds.partition(":")[::2])):
        return f"{final.name} is not a checkpoint of this method: it {lacks}"
    return _content_problem(found, expected_modules, practice=practice)


def _lacks(found: Artefact, begin: str, inputs: str) -> str:
    """What this file lacks to be a checkpoint of its method; "" if nothing."""
    shapes = [shape for name, shape in zip(found.names, found.shapes, strict=True) if name.startswith(begin)]
    if not shapes:
        return f"contains no tensor {begin}..."
    if inputs and not any(shape[1:2] == (int(inputs),) for shape in shapes):
        return f"reads {shapes[0][1] if len(shapes[0]) > 1 else 0} channels, not {inputs}"
    return ""


def _content_problem(found: Artefact, expected_modules: int | None, *, practice: bool) -> str:
    if found.problem:
        return f"{found.path.name} {found.problem}"
    if found.practice and not practice:
        return f"{found.path.name} is a practice file, not a trained model"
    if expected_modules is not None and found.modules != expected_modules:
        return f"{found.path.name} contains {found.modules} modules, the trainer made {expected_modules}"
    return ""
