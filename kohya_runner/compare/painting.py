"""Runs the trainer's scripts over the cells that are missing, and puts each finished picture in its place at once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_runner import safe_files
from kohya_runner.compare.cells import Cell, Grid
from kohya_runner.engines.arguments import Command
from kohya_runner.engines.painting import WORKER, Base, Painter, PaintJob
from kohya_runner.errors import TrainerError
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.record.run_paths import ComparisonPaths
from kohya_runner.run.observers import Observer
from kohya_runner.run.supervise import Watch, supervise
from kohya_runner.text import duration

Say = Callable[..., None]


SCRATCH = ".painting-"
DEAD_STARTS = 2  # processes in a row that ended before any picture: after that the rest is given up
LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class PaintingPlace:
    output: Path
    checkout: Path
    python: Path
    env: Mapping[str, str]
    environ: Mapping[str, str]
    small_gpu: bool = False

    @property
    def paths(self) -> ComparisonPaths:
        return ComparisonPaths(self.output)


@dataclass(slots=True)
class PaintingProgress:
    """What is known so far: the seconds of each new picture, and why cells failed."""

    total: int
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    loads: int = 0
    begun: str = ""
    times: list[float] = field(default_factory=list)

    def line(self, label: str) -> str:
        """``12 of 44 pictures (epoch 3), about 2 min 10 s left``."""
        done = len(self.seconds) + len(self.failed)
        mean = sum(self.times) / len(self.times) if self.times else None
        left = f", about {duration(mean * (self.total - done))} left" if mean is not None else ""
        return f"{done} of {self.total} pictures ({label}){left}"


def missing(grid: Grid, output: Path) -> tuple[Cell, ...]:
    """The cells without a picture, each key once: two epochs with the same weights are painted once."""
    return tuple({c.key: c for c in grid.cells if not (output / c.file).is_file()}.values())


def paint(grid: Grid, painter: Painter, base: Base, place: PaintingPlace, say: Say) -> PaintingProgress:
    """Paint what is missing. A cell whose process dies is failed, the rest goes on in a new process.

    Raises:
        CancelledError, TerminatedError: stopped; finished pictures are kept.
        TrainerError: the script does not come as far as its first picture.
    """
    open_cells = list(missing(grid, place.output))
    progress = PaintingProgress(len(open_cells))
    _sweep(place.output)
    dead = 0
    while open_cells:
        kind, one = _kind(grid, open_cells[0]), open_cells[0].column
        same = (cell for cell in open_cells if _kind(grid, cell) == kind)
        batch = tuple(cell for cell in same if cell.column == one or not painter.each)
        before = len(progress.seconds)
        why = _process(_Batch(grid, painter, base, place, batch), progress, say)
        told = {*progress.seconds, *progress.failed}
        if progress.begun and progress.begun not in told:
            progress.failed[progress.begun] = why or "the script ended while painting it"
        dead = 0 if len(progress.seconds) > before else dead + 1
        rest = [c for c in open_cells if c.key not in {*progress.seconds, *progress.failed}]
        if len(rest) == len(open_cells) or (dead >= DEAD_STARTS and rest):
            _give_up(rest, why, progress, place)
            break
        open_cells = rest
    return progress


def _kind(grid: Grid, cell: Cell) -> tuple[str, str]:
    """What one process can paint together; the base model goes with the first file."""
    own = grid.columns[cell.column]
    return cell.sampler, (next((c for c in grid.columns if c.path), own) if own.base else own).slot


def _give_up(rest: Sequence[Cell], why: str, progress: PaintingProgress, place: PaintingPlace) -> None:
    """Where nothing was painted at all the sweep has failed; else what is left is shown as failed."""
    if not progress.seconds and not any(place.paths.cells.glob("*.png")):
        tail = "\n".join(last_lines(place.paths.log, LAST_LINES))
        raise TrainerError(f"the trainer's script painted nothing: {why}\n{tail}", hint=f"log: {place.paths.log}")
    progress.failed |= {cell.key: f"not painted: {why}" for cell in rest}


def _sweep(output: Path) -> None:
    """What a killed sweep left half done."""
    for left in output.glob(f"{SCRATCH}*"):
        pid = left.name.removeprefix(SCRATCH).partition("-")[0]  # of the runner that made the folder
        if not pid.isdecimal() or int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Batch:
    grid: Grid
    painter: Painter
    base: Base
    place: PaintingPlace
    cells: tuple[Cell, ...]


def _process(batch: _Batch, progress: PaintingProgress, say: Say) -> str:
    """Run one process over its cells; why it ended, "" where it ended well."""
    place = batch.place
    place.paths.cells.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=place.output, prefix=f"{SCRATCH}{os.getpid()}-"))
    try:
        events = scratch / "events.jsonl"
        safe_files.write_json(scratch / "jobs.json", _jobs(batch, scratch, events))
        reader = _Reader(batch, events, progress, say)
        progress.loads += 1
        progress.begun = ""
        say(f"loading the base model to paint {len(reader.cells)} pictures (log: {place.paths.log})", lasting=True)
        watch = Watch(log=place.paths.log, output_dir=scratch, observers=(reader,))
        outcome = supervise(_command(batch, scratch), watch, environ=place.environ)
        reader.tick()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    outcome.raise_stop(f": {len(progress.seconds)} new pictures are kept")
    said = "".join(f" ({line[:200]})" for line in last_lines(place.paths.log, 1))
    return "" if outcome.returncode == 0 else f"the script ended with code {outcome.returncode}{said}"


def _jobs(batch: _Batch, scratch: Path, events: Path) -> dict[str, Any]:
    columns = batch.grid.columns
    rows = []
    for cell in batch.cells:
        column = columns[cell.column]
        weights = str(batch.painter.readable(column.path, scratch)) if column.path else None
        line = batch.painter.line(batch.grid.request(cell))
        rows.append({"key": cell.key, "weights": weights, "strength": column.strength, "line": line})
    return {
        "version": 1,
        "events": str(events),
        "outdir": str(scratch),
        "merged": batch.painter.merged,
        "tokenizers": batch.base.text("tokenizer_cache_dir"),
        "cells": rows,
    }


def _command(batch: _Batch, scratch: Path) -> Command:
    place, columns = batch.place, batch.grid.columns
    first = batch.cells[0]
    chosen = columns[first.column]
    slot = chosen.path or next(c.path for c in columns if c.path)
    guidance = batch.grid.settings.guidance
    weights = batch.painter.readable(slot, scratch)
    job = PaintJob(scratch / "jobs.json", scratch, weights, chosen.strength, first.sampler, place.small_gpu, guidance)
    options = batch.painter.arguments(batch.base, job)
    head = (str(place.python), str(WORKER), str(job.jobs), str(place.checkout / batch.painter.script))
    return Command((*head, *options), place.checkout, place.env)


class _Reader(Observer):
    """Follows the worker's events while it paints."""

    def __init__(self, batch: _Batch, events: Path, progress: PaintingProgress, say: Say) -> None:
        self.batch = batch
        self.events = events
        self.offset = 0
        self.progress = progress
        self.say = say
        self.cells = {cell.key: cell for cell in batch.cells}

    def tick(self) -> None:
        """Take in what is new; a whole line at a time."""
        try:
            with self.events.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        key = str(event["cell"])
        cell = self.cells[key]
        match event["event"]:
            case "begin":
                self.progress.begun = key
            case "failed":
                self.progress.failed[key] = str(event["why"])
            case _:
                Path(event["file"]).replace(self.batch.place.output / cell.file)  # whole: the worker's own last act
                self.progress.seconds[key] = float(event["seconds"])
                self.progress.times.append(float(event["seconds"]))
        self.say(self.progress.line(self.batch.grid.columns[cell.column].label), lasting=False)
