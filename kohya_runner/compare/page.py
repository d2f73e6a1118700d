"""The page: one HTML file with everything in it, for a browser without a network."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from kohya_runner import __version__
from kohya_runner.compare.metrics import shown as figure
from kohya_runner.compare.pictures import opened
from kohya_runner.compare.verdict import clear_best

if TYPE_CHECKING:
    from kohya_runner.compare.comparison import Comparison, Shown
    from kohya_runner.compare.training_data import Losses

TEMPLATE = "page.html.j2"
SIDE = 640
"""Pixels of an embedded picture: enough to judge one, and 100 of them are a file that opens at once."""
SMALL = 320
"""Up to here every pixel is embedded, without loss, and the browser enlarges with hard edges."""
WIDE, HIGH = 900.0, 200.0  # of the loss curve's drawing
MARGIN = 56.0


def report_html(comparison: Comparison) -> str:
    """The page of a comparison. Whatever comes out of files is escaped, and only our own script may run."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    rows = _rows(comparison)
    # a prompt cannot name the nonce, which depends on it: a script in it would not run even unescaped
    nonce = hashlib.sha256(repr((comparison.name, comparison.prompts, rows)).encode("utf-8", "replace")).hexdigest()
    text = environment.get_template(TEMPLATE).render(
        name=comparison.name, version=__version__, nonce=nonce[:32], columns=_columns(comparison), rows=rows,
        prompts=comparison.prompts, seeds=comparison.seeds, samplers=comparison.samplers, metrics=_metrics(comparison),
        suggestion=comparison.suggestion, how=[(k, str(v)) for k, v in comparison.how.items()],
        skipped=[(s.path.name, s.reason) for s in comparison.skipped], notes=comparison.notes,
        failed=len(comparison.failed), command=comparison.command, hint=comparison.hint,
        curve=_curve(comparison.losses),
        hard=comparison.table.training.grid is not None, store=f"kohya-runner compare {comparison.folder}",
    )  # fmt: skip
    return text.encode("utf-8", "replace").decode()


def _columns(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "label": head.label,
            "pick": head.number,
            "file": head.path.name if head.path else "the base model alone" if head.base else "",
        }
        for head in comparison.columns
    ]


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per prompt, sampler and seed, with a picture or a reason in each column."""
    hard = comparison.table.training.grid is not None
    several = len(comparison.samplers) > 1
    return [
        {
            "prompt": row.prompt,
            "text": comparison.prompts[row.prompt],
            "sampler": row.sampler,
            "seed": row.seed,
            "said": row.said(several=several),
            "cells": [_cell(comparison.at(c, row), hard=hard) for c in range(len(comparison.columns))],
        }
        for row in comparison.rows
    ]


def _cell(shown: Shown | None, *, hard: bool) -> dict[str, str]:
    picture = embedded(shown.path, hard=hard) if shown and shown.path else ""
    missing = "no picture" if shown is None or not shown.problem else shown.problem
    return {"picture": picture, "problem": "" if picture else missing}


def embedded(path: Path, *, hard: bool = False) -> str:
    """The picture as a ``data:`` address; "" for one that cannot be read. ``hard``: pixel art keeps its edges."""
    picture = opened(path)
    if picture is None:
        return ""
    buffer = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(buffer, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    picture.thumbnail((SIDE, SIDE), PIL.Image.Resampling.NEAREST if hard else PIL.Image.Resampling.LANCZOS)
    picture.save(buffer, "WEBP", quality=96 if hard else 88)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _metrics(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of the table; of a metric that has a better end a checkpoint that is clearly the best is marked."""
    found = []
    for metric in comparison.table.rows():
        values = [column.get(metric.key) for column in comparison.table.columns]
        best = clear_best(comparison.table, metric, [n for n, head in enumerate(comparison.columns) if not head.base])
        cells = [{"text": figure(v), "best": n == best} for n, v in enumerate(values)]
        sense = ("more is better" if metric.weight > 0 else "less is better") if metric.weight else ""
        noise = figure(comparison.table.floors.get(metric.key)) or "not known"
        found.append({"title": metric.title, "what": metric.what, "cells": cells, "sense": sense, "noise": noise})
    return found


def _curve(losses: Losses | None) -> dict[str, Any] | None:
    """The loss curve as points of a drawing, with a mark at each epoch's end."""
    if losses is None or len(losses.points) < 2:
        return None
    first, last = losses.points[0][0], max(losses.points[-1][0], *(step for _, step in losses.epochs), 0)
    values = [value for _, value in losses.points]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def x(step: int) -> float:
        return round(MARGIN + (step - first) / max(1, last - first) * (WIDE - MARGIN - 10), 1)

    def y(value: float) -> float:
        return round(10 + (high - value) / span * (HIGH - 40), 1)

    return {
        "width": WIDE,
        "height": HIGH,
        "line": " ".join(f"{x(step)},{y(value)}" for step, value in losses.points),
        "epochs": [{"x": x(step), "label": str(epoch), "step": step} for epoch, step in losses.epochs],
        "low": f"{low:.3g}",
        "high": f"{high:.3g}",
        "low_y": y(low),
        "high_y": y(high),
        "left": MARGIN,
    }
