"""Which checkpoints are compared, in the order of training, which are left out and why, and which one is picked.

``compare --pick N`` gives the chosen file a second name beside the others, and keeps a record of the choice.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner import safe_files
from kohya_runner.artefact.file_hash import sha256
from kohya_runner.artefact.lora import Shape, difference, shape_of
from kohya_runner.engines import table
from kohya_runner.errors import RunExistsError, UsageError
from kohya_runner.record.run_paths import ComparisonPaths

if TYPE_CHECKING:
    from kohya_runner.compare.subject import SweepSubject

PICKED = "-picked.safetensors"
SUFFIX = ".safetensors"
_EPOCH = re.compile(r"-(\d{6})$")  # EPOCH_FILE_NAME, library/train_util.py
_STEP = re.compile(r"-step(\d{8})$")  # STEP_FILE_NAME, library/train_util.py


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file to compare. ``number`` is the epoch it is picked by; None for a file that names none."""

    path: Path
    label: str
    sha256: str
    epoch: int | None = None
    step: int | None = None
    slot: str = ""  # files of different slots are not painted by one process; "" where all have the same


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is left out. ``reason`` is the rest of a sentence that begins with its name."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Candidates:
    checkpoints: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...] = ()


def in_folder(folder: Path) -> tuple[Path, ...]:
    """The model files of a folder by name; what ``--pick`` made is one of them under a second name."""
    files = (p for p in folder.iterdir() if p.suffix == SUFFIX and p.is_file() and not p.name.endswith(PICKED))
    return tuple(sorted(files))


def find(files: Sequence[Path], family: str, *, last_epoch: int | None = None,
         hashes: Mapping[str, str] | None = None) -> Candidates:  # fmt: skip
    """Sort the files into what is compared and what is not.

    They must fit into one slot; the shape that most of them have decides. ``hashes`` holds those already known, by
    file name. ``last_epoch`` is what a run was to train: its file without a number.
    """
    shapes = {path: shape_of(path) for path in dict.fromkeys(files)}
    skipped = {path: reason for path, shape in shapes.items() if (reason := _unfit(shape, family))}
    good = {path: shape for path, shape in shapes.items() if path not in skipped}
    if good:
        common = Counter(shape.key for shape in good.values()).most_common(1)[0][0]
        reference = next(shape for shape in good.values() if shape.key == common)
        skipped |= {path: reason for path, shape in good.items() if (reason := difference(shape, reference))}
    kept = [path for path in good if path not in skipped]
    numbered = [_numbered(path, shapes[path], kept, last_epoch, (hashes or {}).get(path.name)) for path in kept]
    order = sorted(numbered, key=lambda pair: pair[0])
    return Candidates(_labelled([c for _, c in order]), tuple(Skipped(path, skipped[path]) for path in skipped))


def _unfit(shape: Shape, family: str) -> str:
    if shape.problem:
        return shape.problem
    if shape.network and not any(row.networks for row in table.painters() if row.family == family):
        return f"is a {shape.network}, which the script that paints for {family or 'it'} does not merge"
    return "" if not family or shape.for_family(family) else f"is a LoRA for {shape.mark}, not for {family}"


def _numbered(
    path: Path, shape: Shape, files: Sequence[Path], last_epoch: int | None, known: str | None
) -> tuple[tuple[int, ...], Candidate]:
    """With what it is sorted by: epochs and steps as they were trained, other files after them as they were given."""
    step, epoch = _match(_STEP, path), _match(_EPOCH, path)
    if step is None and epoch is None:
        epoch = _final_epoch(path, shape, files, last_epoch)
    trained = shape.number("ss_epoch") if epoch is None and step is not None else epoch
    order = (int(epoch is None and step is None), trained or 0, step or 0, files.index(path))
    return order, Candidate(path, "", known or sha256(path), epoch, step)


def _final_epoch(path: Path, shape: Shape, files: Sequence[Path], last_epoch: int | None) -> int | None:
    """The last file of a run has no number: it is the last epoch. None where nothing tells."""
    numbered = [other for other in files if _EPOCH.sub("", other.stem) == path.stem]
    siblings = [n + 1 for other in numbered if (n := _match(_EPOCH, other)) is not None]
    told = [n for n in (shape.number("ss_epoch"), last_epoch) if n is not None]
    return max((*siblings, *told), default=None)


def _match(pattern: re.Pattern[str], path: Path) -> int | None:
    found = pattern.search(path.stem)
    return int(found[1]) if found else None


def _labelled(checkpoints: list[Candidate]) -> tuple[Candidate, ...]:
    """Labels a person knows them by; files that would share one are called by their names."""
    names = [_name(c) for c in checkpoints]
    unique = len(set(names)) == len(names)
    labels = names if unique else [c.path.stem for c in checkpoints]
    return tuple(replace(c, label=label) for c, label in zip(checkpoints, labels, strict=True))


def _name(checkpoint: Candidate) -> str:
    if checkpoint.step is not None:
        return f"step {checkpoint.step}"
    return f"epoch {checkpoint.epoch}" if checkpoint.epoch is not None else checkpoint.path.stem


def choose(found: Candidates, number: int) -> Candidate:
    """The checkpoint of an epoch; where files name no epochs, the N-th of them.

    Raises ``UsageError``: there is none of this number.
    """
    known = numbered(found)
    if number in known:
        return known[number]
    raise UsageError(f"--pick {number}: there is no such checkpoint", hint=f"there are {', '.join(map(str, known))}")


def numbered(found: Candidates) -> dict[int, Candidate]:
    """What a person picks by: the epochs, or the places in the list where files name none or the same ones."""
    epochs = [c.epoch for c in found.checkpoints if c.epoch is not None]
    if epochs and len(set(epochs)) == len(epochs):
        return {c.epoch: c for c in found.checkpoints if c.epoch is not None}
    return dict(enumerate(found.checkpoints, start=1))


def pick(subject: SweepSubject, chosen: Candidate, number: int, *, now: float | None = None) -> dict[str, Any]:
    """Link the file as ``<name>-picked.safetensors`` and write the record, in place of an earlier choice.

    Raises:
        UsageError: this checkpoint was not compared.
        RunExistsError: there is a file of that name that ``--pick`` did not make: it is not overwritten.
    """
    name = subject.record.name if subject.record else _common_name(chosen.path)
    target = chosen.path.with_name(f"{name}{PICKED}")
    digest, paths = sha256(chosen.path), ComparisonPaths(subject.output)
    columns = safe_files.read_json(paths.result).get("columns") or []
    # a choice is made by looking: only what is on the sheet can be picked
    if not any(isinstance(one, dict) and one.get("sha256") == digest for one in columns):
        word = f"{subject.name}/{subject.run_dir.name}" if subject.run_dir else str(subject.output.parent)
        said = f"--pick {number}: this checkpoint was not compared yet"
        raise UsageError(said, hint=f"compare first: kohya-runner compare {shlex.quote(word)}")
    known = safe_files.read_json(paths.picked) if os.path.lexists(target) else {}
    ours = sha256(target) if target.is_file() else None
    if ours == digest == known.get("sha256") and known.get("target") == str(target):
        return known
    if os.path.lexists(target) and ours not in (digest, known.get("sha256")):
        hint = "it is not overwritten: move it away to pick another checkpoint"
        raise RunExistsError(f"{target} exists and --pick did not make it", hint=hint)
    if ours != digest:
        _link(chosen.path, target)
    record = {
        "version": 1, "picked": number, "label": chosen.label, "file": str(chosen.path), "target": str(target),
        "sha256": digest, "at": time.time() if now is None else now,
        "replaced": known.get("label") if ours != digest else None,
    }  # fmt: skip
    safe_files.write_json(paths.picked, record)
    return record


def _common_name(path: Path) -> str:
    """The output name: without the number of an epoch or a step."""
    stem, _, number = path.stem.rpartition("-")
    return stem if stem and number.removeprefix("step").isdecimal() else path.stem


def _link(source: Path, target: Path) -> None:
    """A hard link, or a whole copy where the file system has none; it takes the place of what is there."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".partial") as folder:
        partial = Path(folder) / target.name
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)
            partial.chmod(0o644)
        partial.replace(target)
