"""Whether what the stages of a run fill is there already, as an earlier launch left it: then they are passed over.

The folder stands for the data, the options and the encoders' places; ``filled.json`` in it for the rest: the commands,
the trainer's commit, the encoders' own files, and every file that was left. The training takes whatever lies there
(dataset/image_video_dataset.py:508), so one file too many counts as one too few.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.safe_files import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.plan.value import Plan

FILE = "filled.json"
SMALL = 1 << 20
"""Bytes; no encoder is so small."""


def is_current(plan: Plan) -> bool:
    """Whether nothing is to be done; never where everything is to be read afresh."""
    if plan.caches is None or plan.request.fresh:
        return False
    try:
        known = json.loads((plan.caches / FILE).read_bytes())
        return bool(known == _described(plan, plan.caches))
    except (OSError, ValueError):
        return False


def invalidate(plan: Plan) -> None:
    """What is filled again counts as nothing until it is done."""
    if plan.caches is not None:
        with contextlib.suppress(OSError):
            (plan.caches / FILE).unlink()


def write(plan: Plan) -> None:
    """Write down what the stages left; where that fails, they are run again one day."""
    if plan.caches is not None and plan.caches.is_dir():
        with contextlib.suppress(OSError):
            write_json(plan.caches / FILE, _described(plan, plan.caches))


def _described(plan: Plan, folder: Path) -> dict[str, object]:
    commands = [list(stage.command.argv) for stage in plan.stages]
    commit = plan.checkout.commit if plan.checkout else None
    read = sorted({place for argv in commands for token in argv for place in _read(token)})
    text = json.dumps([commands, commit, [[str(path), _content(path)] for path in read]])
    found = {path.relative_to(folder).as_posix(): _seen(path) for path in _files(folder)}
    return {"version": 1, "key": hashlib.sha256(text.encode()).hexdigest(), "files": found}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / FILE)


def _read(token: str) -> Iterator[Path]:
    """The files that an option names, and those beside it that a model in pieces has."""
    path = Path(token.partition("=")[2] or token)
    if path.is_absolute() and path.is_file():
        yield path
        if "-of-" in path.stem:
            yield from path.parent.glob(f"*{path.suffix}")


def _content(path: Path) -> str | list[int]:
    """Of a small file, such as the one that lists the data, what is in it: it is written at every launch."""
    small = path.stat().st_size <= SMALL
    return hashlib.sha256(path.read_bytes()).hexdigest() if small else _seen(path)


def _seen(path: Path) -> list[int]:
    """Size and time, which a file that is written again does not keep."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
