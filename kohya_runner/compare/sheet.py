"""The contact sheet: one PNG, checkpoints across, prompts and seeds down, everything labelled."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageDraw, ImageFont

from kohya_runner.compare.pictures import opened

if TYPE_CHECKING:
    from kohya_runner.compare.comparison import Comparison, GridRow, Shown

INK, SOFT, PAPER, LINE, BAD, GOOD = "#1c2430", "#5b6676", "#ffffff", "#d9dee6", "#b3261e", "#1b6b3a"
SAID = ("family", "size", "steps", "guidance", "sampler", "samples")
GAP = 6
LEFT = 300
WIDEST = 2400
"""Pixels for the whole sheet: more is shown too small to read by everything that shows pictures."""
LARGEST_CELL, SMALLEST_CELL = 320, 96
TITLE, TEXT, NOTE = 34, 23, 18


def sheet_png(comparison: Comparison) -> bytes:
    """The sheet as the bytes of a PNG."""
    sheet = _Sheet(comparison)
    sheet.paint()
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG")
    return buffer.getvalue()


class _Sheet:
    """The picture being put together."""

    def __init__(self, comparison: Comparison) -> None:
        self.of = comparison
        columns = len(comparison.columns)
        self.side = max(SMALLEST_CELL, min(LARGEST_CELL, (WIDEST - LEFT) // columns - GAP))
        self.rows = comparison.rows
        self.label = TEXT * 2 + 12
        self.top = TITLE * 2 + 20 + self.label
        notes = self._notes()
        width = max(LEFT + columns * (self.side + GAP) + GAP, 900)
        self.notes = [line for note in notes for line in textwrap.wrap(note, max(60, width // 9))]
        height = self.top + self._body() + GAP + len(self.notes) * (NOTE + 6) + 12
        self.image = PIL.Image.new("RGB", (width, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def _body(self) -> int:
        return len(self.rows) * (self.side + GAP) + len(self.of.prompts) * GAP

    def _notes(self) -> list[str]:
        said = f"{self.of.suggestion.title}: {self.of.suggestion.reason}"
        noise = self.of.table.noise()
        skipped = [f"Left out: {s.path.name} {s.reason}" for s in self.of.skipped]
        return [said, *([noise] if noise else []), *self.of.notes, *skipped]

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
            y = self.top + self._body() + GAP + line * (NOTE + 6)
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
        self.draw.text(corner, text, fill=colour, font=_font(size))


def scaled(picture: PIL.Image.Image, side: int, *, pixel_art: bool) -> PIL.Image.Image:
    """As large as fits; pixel art and small pictures keep hard edges."""
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    hard = pixel_art or factor > 1
    return picture.resize(size, PIL.Image.Resampling.NEAREST if hard else PIL.Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, width: int) -> list[str]:
    """The lines of a text that fit into a width."""
    font = _font(size)
    per_line = max(6, int(width / max(1.0, font.getlength("abcdefgh ") / 9)))
    return textwrap.wrap(text, per_line) or [""]
