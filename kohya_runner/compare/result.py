"""compare.json: every cell with its file, prompt, seed, settings, hash and figures (docs/compare.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.compare.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.compare.view import Comparison, Shown


def result_json(comparison: Comparison) -> dict[str, Any]:
    """The object, version 1. Pictures are named relative to the comparison's folder where they lie in it."""
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
            {"key": m.key, "title": m.title, "what": m.what, "weight": m.weight, "pixel_art": m.pixel_art}
            for m in METRICS
            if m in comparison.table.rows()
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
        },
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
