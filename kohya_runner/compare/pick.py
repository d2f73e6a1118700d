"""``compare --pick N``: the chosen file under a second name, beside the others, with a record of the choice."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner import atomic
from kohya_runner.artefact.file_hash import sha256
from kohya_runner.compare.checkpoints import PICKED
from kohya_runner.errors import RunExistsError, UsageError

if TYPE_CHECKING:
    from kohya_runner.compare.checkpoints import Checkpoint, Found
    from kohya_runner.compare.subject import Subject

RECORD = "picked.json"


def choose(found: Found, number: int) -> Checkpoint:
    """The checkpoint of an epoch; where files name no epochs, the N-th of them.

    Raises:
        UsageError: there is none of this number.
    """
    known = numbered(found)
    if number in known:
        return known[number]
    raise UsageError(f"--pick {number}: there is no such checkpoint", hint=f"there are {', '.join(map(str, known))}")


def numbered(found: Found) -> dict[int, Checkpoint]:
    """What a person picks by: the epochs, or the places in the list where files name none or the same ones."""
    epochs = [c.epoch for c in found.checkpoints if c.epoch is not None]
    if epochs and len(set(epochs)) == len(epochs):
        return {c.epoch: c for c in found.checkpoints if c.epoch is not None}
    return dict(enumerate(found.checkpoints, start=1))


def pick(subject: Subject, chosen: Checkpoint, number: int, *, now: float | None = None) -> dict[str, Any]:
    """Link the file as ``<name>-picked.safetensors`` and write the record; twice is as good as once.

    Raises:
        RunExistsError: another checkpoint was picked before: nothing is overwritten.
    """
    name = subject.record.name if subject.record else _common_name(chosen.path)
    target = chosen.path.with_name(f"{name}{PICKED}")
    digest = sha256(chosen.path)
    if target.exists() or target.is_symlink():
        _same_or_refused(target, digest, number)
    else:
        _link(chosen.path, target)
    known = _record(subject.output / RECORD)
    if known.get("sha256") == digest and known.get("target") == str(target):
        return known
    record = {
        "version": 1, "picked": number, "label": chosen.label, "file": str(chosen.path), "target": str(target),
        "sha256": digest, "at": time.time() if now is None else now,
    }  # fmt: skip
    atomic.write_json(subject.output / RECORD, record)
    return record


def _common_name(path: Path) -> str:
    """The output name: without the number of an epoch or a step."""
    stem, _, number = path.stem.rpartition("-")
    return stem if stem and number.removeprefix("step").isdecimal() else path.stem


def _same_or_refused(target: Path, digest: str, number: int) -> None:
    if target.is_file() and sha256(target) == digest:
        return
    raise RunExistsError(
        f"{target} is there already and is another checkpoint than {number}",
        hint="nothing is overwritten: remove it first, if you have changed your mind",
    )


def _link(source: Path, target: Path) -> None:
    """A hard link; a whole copy where the file system has none. Neither replaces what is there."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        shutil.copyfile(source, partial)
        partial.chmod(0o644)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _record(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
