"""What a comparison is shown as: one HTML file with everything in it, and the contact sheet, one PNG."""

from __future__ import annotations

import base64
import hashlib
import io
import textwrap
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ImageDraw, ImageFont

from kohya_runner import __version__
from kohya_runner.compare.comparison import Comparison, GridRow, Shown
from kohya_runner.compare.metrics import shown as figure
from kohya_runner.compare.pictures import opened
from kohya_runner.compare.verdict import clear_best
from kohya_runner.text import printable, template

TEMPLATE = Path(__file__).with_name("page.html.j2")
SIDE = 640  # pixels of an embedded picture: enough to judge one, and 100 of them are a file that opens at once
SMALL = 320  # up to here every pixel is embedded, without loss, and the browser enlarges with hard edges


def report_html(comparison: Comparison) -> str:
    """The page of a comparison. Whatever comes out of files is escaped, and only our own script may run."""
    rows = _rows(comparison)
    heads = comparison.columns
    files = [head.path.name if head.path else "the base model alone" if head.base else "" for head in heads]
    columns = [{"label": c.label, "pick": c.number, "file": file} for c, file in zip(heads, files, strict=True)]
    # a prompt cannot name the nonce, which depends on it: a script in it would not run even unescaped
    nonce = hashlib.sha256(repr((comparison.name, comparison.prompts, rows)).encode("utf-8", "replace")).hexdigest()
    text = template(TEMPLATE).render(
        name=comparison.name, version=__version__, nonce=nonce[:32], columns=columns, rows=rows,
        prompts=comparison.prompts, seeds=comparison.seeds, samplers=comparison.samplers, metrics=_metrics(comparison),
        suggestion=comparison.suggestion, how=[(k, str(v)) for k, v in comparison.how.items()],
        skipped=[(s.path.name, s.reason) for s in comparison.skipped], notes=comparison.notes,
        failed=len(comparison.failed), command=comparison.command, hint=comparison.hint,
        runs=comparison.runs,
        losses=comparison.losses,
        hard=comparison.table.training.grid is not None, store=f"kohya-runner compare {comparison.folder}",
    )  # fmt: skip
    return printable(text)


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


INK, SOFT, PAPER, LINE, BAD, GOOD = "#1c2430", "#5b6676", "#ffffff", "#d9dee6", "#b3261e", "#1b6b3a"
SAID = ("family", "size", "steps", "guidance", "sampler", "samples")
GAP = 6
LEFT = 300
WIDEST = 2400  # pixels for the whole sheet: more is shown too small to read by everything that shows pictures
LARGEST_CELL, SMALLEST_CELL = 320, 96
TITLE, TEXT, NOTE = 34, 23, 18


def sheet_png(comparison: Comparison) -> bytes:
    sheet = _Sheet(comparison)
    sheet.paint()
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG")
    return buffer.getvalue()


class _Sheet:
    def __init__(self, comparison: Comparison) -> None:
        self.of = comparison
        columns = len(comparison.columns)
        self.side = max(SMALLEST_CELL, min(LARGEST_CELL, (WIDEST - LEFT) // columns - GAP))
        self.rows = comparison.rows
        self.label = TEXT * 2 + 12
        self.top = TITLE * 2 + 20 + self.label
        self.body = len(self.rows) * (self.side + GAP) + len(comparison.prompts) * GAP
        said = f"{comparison.suggestion.title}: {comparison.suggestion.reason}"
        skipped = [f"Left out: {s.path.name} {s.reason}" for s in comparison.skipped]
        notes = filter(None, (said, comparison.table.noise(), *comparison.notes, *skipped))
        width = max(LEFT + columns * (self.side + GAP) + GAP, 900)
        self.notes = [line for note in notes for line in textwrap.wrap(note, max(60, width // 9))]
        height = self.top + self.body + GAP + len(self.notes) * (NOTE + 6) + 12
        self.image = PIL.Image.new("RGB", (width, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def paint(self) -> None:
        self._text((GAP * 2, 10), self.of.name, TITLE, INK)
        self._text(
            (GAP * 2, 14 + TITLE), ", ".join(f"{k} {self.of.how[k]}" for k in SAID if k in self.of.how), NOTE, SOFT
        )
        for number, head in enumerate(self.of.columns):
            best = number == self.of.suggestion.column
            x = LEFT + number * (self.side + GAP)
            for line, part in enumerate(_fitted(head.label + (" *" if best else ""), TEXT, self.side)[:2]):
                self._text((x, self.top - self.label + line * (TEXT + 3)), part, TEXT, GOOD if best else INK)
        for number, row in enumerate(self.rows):
            self._row(number, row)
        for line, text in enumerate(self.notes):
            y = self.top + self.body + GAP + line * (NOTE + 6)
            self._text((GAP * 2, y), text, NOTE, SOFT)

    def _row(self, number: int, row: GridRow) -> None:
        y = self.top + number * (self.side + GAP) + row.prompt * GAP
        if number == 0 or self.rows[number - 1].prompt != row.prompt:
            self.draw.line((0, y - GAP, self.image.width, y - GAP), fill=LINE)
            room = max(2, (self.side - NOTE) // (NOTE + 4) - 1)
            for line, text in enumerate(_fitted(self.of.prompts[row.prompt], NOTE, LEFT - 4 * GAP)[:room]):
                self._text((GAP * 2, y + line * (NOTE + 4)), text, NOTE, INK)
        said = row.said(several=len(self.of.samplers) > 1)
        self._text((GAP * 2, y + self.side - NOTE - 4), said, NOTE, SOFT)
        for column in range(len(self.of.columns)):
            self._cell((LEFT + column * (self.side + GAP), y), self.of.at(column, row))

    def _cell(self, corner: tuple[int, int], shown: Shown | None) -> None:
        picture = opened(shown.path) if shown and shown.path else None
        box = (*corner, corner[0] + self.side, corner[1] + self.side)
        if picture is None:
            self.draw.rectangle(box, outline=BAD, fill="#fbeceb")
            why = (shown.problem if shown else "") or "no picture"
            for line, text in enumerate(_fitted(f"failed: {why}", NOTE, self.side - 12)[: self.side // (NOTE + 4) - 1]):
                self._text((corner[0] + 6, corner[1] + 6 + line * (NOTE + 4)), text, NOTE, BAD)
            return
        fitted = scaled(picture, self.side, pixel_art=self.of.table.training.grid is not None)
        x, y = (corner[n] + (self.side - fitted.size[n]) // 2 for n in (0, 1))
        self.image.paste(fitted, (x, y))

    def _text(self, corner: tuple[int, int], text: str, size: int, colour: str) -> None:
        self.draw.text(corner, text, fill=colour, font=ImageFont.load_default(size))


def scaled(picture: PIL.Image.Image, side: int, *, pixel_art: bool) -> PIL.Image.Image:
    """As large as fits; pixel art and small pictures keep hard edges."""
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    hard = pixel_art or factor > 1
    return picture.resize(size, PIL.Image.Resampling.NEAREST if hard else PIL.Image.Resampling.LANCZOS)


def _fitted(text: str, size: int, width: int) -> list[str]:
    """The lines of a text that fit into a width."""
    font = ImageFont.load_default(size)
    per_line = max(6, int(width / max(1.0, font.getlength("abcdefgh ") / 9)))
    return textwrap.wrap(text, per_line) or [""]
