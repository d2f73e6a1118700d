"""Which files are published, and why these: the epoch that was picked, every epoch, or files that were named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.artefact.verify import Verified, verified
from kohya_runner.compare.checkpoints import PICKED, SUFFIX
from kohya_runner.compare.subject import SweepSubject
from kohya_runner.errors import NoCheckpointError, UsageError
from kohya_runner.recipe.finish import Publish
from kohya_runner.record.record import Record, SavedCheckpoint
from kohya_runner.record.run_paths import ComparisonPaths
from kohya_runner.safe_files import is_inside, read_json

HOW_TO_PICK = "pick one by looking: kohya-runner compare RUN --pick N; or add --epoch N, --epoch last or --all"


@dataclass(frozen=True, slots=True)
class Chosen:
    """One file, and the name it gets in the repository."""

    name: str
    label: str
    found: Verified


@dataclass(frozen=True, slots=True)
class Selection:
    """What is published. ``why`` is a whole sentence."""

    subject: SweepSubject
    files: tuple[Chosen, ...]
    why: str


def select(subject: SweepSubject, settings: Publish, *, asked: bool) -> Selection:
    """The files to publish, each read from end to end. ``asked``: a person is there who can pick one.

    Raises:
        UsageError: there is no such epoch, nobody has picked one, or two files would get one name.
        NoCheckpointError: a file is broken, or of the practice trainer, or does not lie in its run's folder.
    """
    if subject.record is None or subject.run_dir is None:
        rows = [(path.name.replace(PICKED, SUFFIX), path.stem, path) for path in subject.files]
        why = "" if len(rows) == 1 else "All of these files."
    else:
        folder = subject.run_dir / subject.record.output_dir
        kept, why = _of_run(subject.record, settings, ComparisonPaths(subject.output), asked=asked)
        single = f"{subject.record.name}{SUFFIX}" if len(kept) == 1 else ""
        rows = [(single or c.file, _label(c), folder / c.file) for c in kept]
        if strange := [path.name for _, _, path in rows if not is_inside(path, (folder,))]:
            raise NoCheckpointError(f"{strange[0]} does not lie in the run's folder: not published")
    names = [name for name, _, _ in rows]
    if len(set(names)) < len(names):
        raise UsageError("two of the files have the same name", hint="publish them to two repositories")
    files = tuple(Chosen(name, label, verified(path)) for name, label, path in rows)
    broken = [f"{file.found.path.name} {problem}" for file in files for problem in file.found.problems]
    if broken:
        raise NoCheckpointError("not published:\n" + "\n".join(broken), hint="see: kohya-runner verify FILE")
    return Selection(subject, files, why)


def _of_run(
    record: Record, settings: Publish, paths: ComparisonPaths, *, asked: bool
) -> tuple[list[SavedCheckpoint], str]:
    if record.practice:
        raise NoCheckpointError(f"{record.name} is a practice run: nothing was trained, nothing is published")
    kept = [c for c in record.checkpoints if c.usable and c.file.endswith(SUFFIX)]
    if not kept:
        raise NoCheckpointError(f"{record.name} has no usable safetensors file to publish")
    last = next((c for c in kept if c.file == record.final), kept[-1])
    if settings.epoch == "all":
        return kept, "Every epoch that was saved."
    if settings.epoch == "last":
        return [last], f"The last file of the run ({_label(last)})."
    if settings.epoch == "picked":
        return _picked(kept, last, paths, asked=asked)
    numbered = {c.epoch: c for c in kept if c.epoch is not None and c.step is None}
    if settings.epoch not in numbered:
        there = ", ".join(map(str, numbered)) or "none"
        raise UsageError(f"there is no file of epoch {settings.epoch}", hint=f"there are {there}")
    return [numbered[int(settings.epoch)]], f"Epoch {settings.epoch} was named."


def _picked(
    kept: list[SavedCheckpoint], last: SavedCheckpoint, paths: ComparisonPaths, *, asked: bool
) -> tuple[list[SavedCheckpoint], str]:
    """By a person, else by the figures of the comparison, else the last where nobody is there to be asked."""
    noted, (suggested, reason) = read_json(paths.picked), _suggested(read_json(paths.result))
    by_hand = noted.get("sha256")
    for one in kept if by_hand or suggested else ():
        if one.sha256 == (by_hand or suggested):
            how = "was picked." if by_hand else f"was suggested by the comparison: {reason}"
            return [one], str(noted.get("why") or f"{_label(one).capitalize()} {how}")
    if len(kept) == 1:
        return kept, "It is the only one that was saved."
    if asked:
        raise UsageError("no epoch is picked, and the comparison suggests none", hint=HOW_TO_PICK)
    return [last], f"The last one ({_label(last)}): nobody picked another, and no comparison suggests one."


def _suggested(told: dict[str, Any]) -> tuple[str, str]:
    """The hash of the file that a comparison's figures speak for, and why; nothing where they do for none."""
    try:
        return str(told["columns"][told["suggestion"]["column"]]["sha256"] or ""), str(told["suggestion"]["reason"])
    except (KeyError, IndexError, TypeError):
        return "", ""


def _label(checkpoint: SavedCheckpoint) -> str:
    if checkpoint.step is not None:
        return f"step {checkpoint.step}"
    return f"epoch {checkpoint.epoch}" if checkpoint.epoch is not None else Path(checkpoint.file).stem
