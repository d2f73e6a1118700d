"""Files a recipe trains on: they must be there, whole, and no practice files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.artefact.checkpoint import inspect
from kohya_runner.findings import Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kohya_runner.engines.arguments import Arg

WEIGHTS = ("network_weights", "base_weights", "weights")
STATE = "resume"
STATE_WEIGHTS = "model.safetensors"  # accelerate's save_state writes it (train_network.py:936)


def findings(args: Iterable[Arg], *, practice: bool) -> Iterator[Finding]:
    """What stands against the files that the options name; a practice run may go on from practice files."""
    for arg in args:
        if arg.name in WEIGHTS:
            for text in _texts(arg.value):
                yield from _file(arg, Path(text), practice=practice)
        elif arg.name == STATE:
            yield from _state(arg, Path(str(arg.value)), practice=practice)


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _file(arg: Arg, path: Path, *, practice: bool) -> Iterator[Finding]:
    if not os.path.isfile(path):
        yield error("model.missing", f"args.{arg.name}: there is no file {path}", where=arg.source)
    elif path.suffix == ".safetensors":
        found = inspect(path)
        if found.problem:
            yield error("model.broken", f"args.{arg.name}: {path} {found.problem}", where=arg.source)
        elif found.practice and not practice:
            yield _practice(arg, path)


def _state(arg: Arg, folder: Path, *, practice: bool) -> Iterator[Finding]:
    if not os.path.isdir(folder):
        hint = "name the folder that save_state wrote: NAME-000001-state"
        yield error("model.missing", f"args.resume: there is no folder {folder}", where=arg.source, hint=hint)
    elif not practice and inspect(folder / STATE_WEIGHTS).practice:
        yield _practice(arg, folder)


def _practice(arg: Arg, path: Path) -> Finding:
    message = f"args.{arg.name}: {path} is of a practice run; it holds nothing that was trained"
    return error("model.practice", message, where=arg.source, hint="name a file that the real trainer wrote")
