"""One comparison across the runs of a sweep: a checkpoint of each, the same prompts and seeds, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kohya_runner.artefact.file_hash import sha256
from kohya_runner.artefact.lora import shape_of
from kohya_runner.compare.checkpoints import Candidate
from kohya_runner.compare.comparison import Comparison
from kohya_runner.compare.subject import of_run
from kohya_runner.compare.sweep import Say, compare_files
from kohya_runner.errors import NoCheckpointError, UsageError
from kohya_runner.record.run_paths import COMPARISON, ComparisonPaths, RunPaths
from kohya_runner.safe_files import read_json
from kohya_runner.sweep.record import VariantRow
from kohya_runner.text import duration

HEADINGS = ("run", "state", "steps", "loss", "time", "cost")


def table(rows: Sequence[VariantRow], price: float | None) -> Iterator[tuple[str, ...]]:
    """A line for each run, as ``HEADINGS`` say."""
    for row in rows:
        record = row.view.record if row.view else None
        steps = f"{record.steps_seen}/{record.steps_planned or '?'}" if record else ""
        cost = "" if price is None or not row.seconds else f"{price * row.seconds / 3600:.2f}"
        yield (
            row.variant.label, row.state, steps, "" if row.loss is None else f"{row.loss:.4f}",
            duration(row.seconds) if row.seconds else "", cost,
        )  # fmt: skip


def compared(
    folder: Path, rows: Sequence[VariantRow], price: float | None, say: Say, sd_scripts: str | None
) -> Comparison:
    """The sheet and the page, in the sweep's folder.

    Raises:
        NoCheckpointError: fewer than two runs have a checkpoint.
        UsageError: they have different base models.
    """
    found = [(row.view.path, one) for row in rows if row.view and (one := _chosen(row)) is not None]
    if len(found) < 2:
        raise NoCheckpointError("nothing to compare: fewer than two runs have a usable checkpoint")
    subjects = [of_run(path) for path, _ in found]
    if len({(subject.base.family, subject.base.model) for subject in subjects}) > 1:
        raise UsageError("the runs have different base models", hint="compare each: kohya-runner compare RUN")
    subject = replace(
        subjects[0], name=f"sweep {folder.name}", files=(), output=folder / COMPARISON, run_dir=None,
        chosen=tuple(one for _, one in found),
        runs=(HEADINGS, *table(rows, price)),
    )  # fmt: skip
    return compare_files(subject, say=say, sd_scripts=sd_scripts)


def _chosen(row: VariantRow) -> Candidate | None:
    """What a person picked of a run, else its last usable checkpoint."""
    record = row.view.record if row.view else None
    if row.view is None or record is None or record.practice:
        return None
    picked = read_json(ComparisonPaths(RunPaths(row.view.path).comparison).picked)
    kept = [c for c in record.checkpoints if c.usable]
    last = row.view.output_dir / kept[-1].file if kept else None
    path = Path(str(picked["file"])) if picked.get("file") else last
    if path is None or not path.is_file() or (shape := shape_of(path)).problem:
        return None
    return Candidate(path, row.variant.label, sha256(path), kept[-1].epoch if kept else None, slot=shape.key)
