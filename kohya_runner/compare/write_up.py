"""From painted cells to what is shown: measured, weighed, and written as sheet, page and compare.json."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kohya_runner import safe_files
from kohya_runner.compare.cells import Cell, Grid
from kohya_runner.compare.checkpoints import Candidates, numbered
from kohya_runner.compare.clip import HINT, Asked, likenesses
from kohya_runner.compare.comparison import Comparison, Head, Shown
from kohya_runner.compare.metrics import Likeness, Table, Training, look, measure, training_of
from kohya_runner.compare.page import report_html, sheet_png
from kohya_runner.compare.painting import PaintingPlace, PaintingProgress
from kohya_runner.compare.settings import SweepSettings
from kohya_runner.compare.subject import SweepSubject
from kohya_runner.compare.training_data import captions_of, losses_of, training_files
from kohya_runner.compare.verdict import suggest, wanted
from kohya_runner.record.run_paths import ComparisonPaths


@dataclass(frozen=True, slots=True)
class Made:
    """How the pictures were made, and what a person should know of it."""

    how: Mapping[str, str]
    notes: tuple[str, ...] = ()
    place: PaintingPlace | None = None  # where the trainer's Python is, for what needs it
    say: Callable[..., None] | None = None


def finished(
    subject: SweepSubject, found: Candidates, grid: Grid, progress: PaintingProgress, made: Made
) -> Comparison:
    """Measure and write everything; the comparison."""
    numbers = {} if subject.chosen else {checkpoint.path: number for number, checkpoint in numbered(found).items()}
    heads = tuple(replace(head, number=numbers.get(head.path) if head.path else None) for head in grid.columns)
    shown = tuple(_shown(subject.output, cell, progress) for cell in grid.cells)
    data = [d for d in subject.recipe.get("datasets") or () if isinstance(d, dict)]
    # what captions must begin with may say how large the pixel art is
    begins = (str((d.get("captions") or {}).get("starts_with") or "") for d in data)
    training = training_files(subject.base)
    said, notes = _clip(grid.settings, shown, training, made)
    table = measured(heads, shown, training_of(training, (*grid.settings.prompts, *begins)), grid.settings, said)
    more = wanted(grid.settings.prompts, grid.settings.seeds, captions_of(subject.base))
    target = subject.run_dir or (subject.files[0].parent if subject.files else subject.output.parent)
    comparison = Comparison(
        name=f"{subject.name} {subject.run_dir.name}" if subject.run_dir else subject.name,
        folder=subject.output,
        columns=heads,
        prompts=grid.settings.prompts,
        seeds=grid.settings.seeds,
        samplers=grid.settings.samplers,
        controls=grid.settings.controls,
        shown=shown,
        table=table,
        suggestion=suggest(table, [head.label for head in heads], candidates(heads, shown, table), more),
        how=_how(grid.settings, made.how),
        skipped=found.skipped,
        notes=(*made.notes, *notes, *plain_notes(heads, table)),
        hint="" if grid.settings.clip else HINT,
        losses=losses_of(subject.run_dir, subject.run_dir / subject.record.log)
        if subject.run_dir and subject.record
        else None,
        command=f"kohya-runner compare {shlex.quote(str(target))} --pick",
        runs=subject.runs,
    )
    write(comparison)
    return comparison


def write(comparison: Comparison) -> None:
    """The three files, each whole or not at all; compare.json last, so that what it stands for is there."""
    comparison.folder.mkdir(parents=True, exist_ok=True)
    paths = ComparisonPaths(comparison.folder)
    safe_files.write_bytes(paths.sheet, sheet_png(comparison))
    safe_files.write_text(paths.page, report_html(comparison))
    safe_files.write_json(paths.result, result_json(comparison))


def _clip(
    settings: SweepSettings, shown: tuple[Shown, ...], training: tuple[Path, ...], made: Made
) -> tuple[Mapping[Path, Likeness], tuple[str, ...]]:
    if settings.clip is None or made.place is None or made.say is None:
        return {}, ()
    return likenesses(Asked(settings.clip, shown, settings.prompts, training), made.place, made.say)


def measured(
    heads: tuple[Head, ...], shown: tuple[Shown, ...], training: Training, settings: SweepSettings,
    clip: Mapping[Path, Likeness] = MappingProxyType({}),
) -> Table:  # fmt: skip
    """Look at every picture, then at every column."""
    looked = [
        [replace(one, clip=clip.get(s.path, Likeness())) for s in shown if s.column == number and s.path is not None
         if (one := look(s.path, (s.prompt, s.sampler, s.seed), training.grid)) is not None]
        for number in range(len(heads))
    ]  # fmt: skip
    base = next((number for number, head in enumerate(heads) if head.base), None)
    return measure(looked, base, training, settings)


def candidates(heads: tuple[Head, ...], shown: tuple[Shown, ...], table: Table) -> list[int]:
    """The columns that may win: checkpoints whose every cell shows something, at the strength nearest to 1."""
    nearest = min((abs(h.strength - 1) for h in heads if not h.base), default=0.0)
    failed = {s.column for s in shown if s.path is None} | {n for n, count in enumerate(table.plain) if count}
    return [
        number
        for number, head in enumerate(heads)
        if not head.base and number not in failed and abs(head.strength - 1) == nearest
    ]


def plain_notes(heads: tuple[Head, ...], table: Table) -> list[str]:
    """Pictures that show nothing: the scripts save NaN as black."""
    return [
        f"{head.label}: {count} picture(s) of one colour. The model's numbers became NaN or too large; it cannot win."
        for head, count in zip(heads, table.plain, strict=True)
        if count
    ]


def _shown(output: Path, cell: Cell, progress: PaintingProgress) -> Shown:
    path = output / cell.file
    there = path.is_file()
    problem = "" if there else progress.failed.get(cell.key, "was not painted")
    return Shown(cell.column, cell.prompt, cell.seed, path if there else None, cell.key, problem, cell.sampler)


def _how(settings: SweepSettings, how: Mapping[str, str]) -> dict[str, object]:
    size = f"{settings.width}x{settings.height}"
    painted = {"size": size, "steps": settings.steps, "guidance": settings.guidance}
    named = ", ".join(settings.samplers)
    more = {name: text for name, text in (("sampler", named), ("negative", settings.negative)) if text}
    return {**painted, **more, **how}


def result_json(comparison: Comparison) -> dict[str, Any]:
    """The object of compare.json (docs/compare.md), version 1.

    Pictures are named relative to the comparison's folder where they lie in it.
    """
    suggestion = comparison.suggestion
    return {
        "version": 1,
        "ok": not comparison.failed,
        "name": comparison.name,
        "folder": str(comparison.folder),
        "settings": dict(comparison.how),
        "prompts": list(comparison.prompts),
        "seeds": list(comparison.seeds),
        "controls": list(comparison.controls),
        "samplers": [name for name in comparison.samplers if name],
        "columns": [_column(comparison, number) for number in range(len(comparison.columns))],
        "cells": [_cell(comparison, shown) for shown in comparison.shown],
        "metrics": [
            {name: getattr(m, name) for name in ("key", "title", "what", "weight", "pixel_art")}
            | {"noise": _short(comparison.table.floors.get(m.key))}
            for m in comparison.table.rows()
        ],
        "training": {
            "pictures": len(comparison.table.training.tiny),
            "grid": list(comparison.table.training.grid or ()) or None,
            "palette": comparison.table.training.palette,
        },
        "suggestion": {
            "column": suggestion.column,
            "label": None if suggestion.column is None else comparison.columns[suggestion.column].label,
            "reason": suggestion.reason,
            "verdict": suggestion.verdict,
            "tied": list(suggestion.tied),
        },
        **(
            {"runs": [dict(zip(comparison.runs[0], row, strict=True)) for row in comparison.runs[1:]]}
            if comparison.runs
            else {}
        ),
        "skipped": [{"file": str(s.path), "reason": s.reason} for s in comparison.skipped],
        "notes": list(comparison.notes),
    }


def _column(comparison: Comparison, number: int) -> dict[str, Any]:
    head = comparison.columns[number]
    scores = comparison.suggestion.scores
    return {
        "label": head.label,
        "pick": head.number,
        "epoch": head.epoch,
        "step": head.step,
        "file": str(head.path) if head.path else None,
        "sha256": head.sha256 or None,
        "strength": head.strength,
        "metrics": {name: _short(value) for name, value in comparison.table.columns[number].items()},
        "score": _short(scores[number]) if number < len(scores) else None,
    }


def _cell(comparison: Comparison, shown: Shown) -> dict[str, Any]:
    head = comparison.columns[shown.column]
    place = (shown.prompt, shown.sampler, shown.seed)
    return {
        "column": shown.column,
        "prompt": shown.prompt,
        "text": comparison.prompts[shown.prompt],
        "seed": shown.seed,
        "sampler": shown.sampler or None,
        "lora": head.sha256 or None,
        "strength": head.strength,
        "key": shown.key,
        "file": _relative(shown.path, comparison.folder) if shown.path else None,
        "failed": shown.problem or None,
        "metrics": {name: _short(value) for name, value in comparison.table.of_cell(shown.column, place).items()},
    }


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
