"""Files in a sentence: a few names and a count, and where a finding about them points."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kohya_runner.dataset.facts import Source

SHOWN = 5
LONGEST = 80


def names(paths: Sequence[Path]) -> str:
    """``a.png, b.png and 7 more``."""
    shown = ", ".join(printable(path.name) for path in paths[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place(source: Source, paths: Sequence[Path]) -> str:
    """The file where there is one, else the recipe's entry, else the folder."""
    return printable(str(paths[0])) if len(paths) == 1 else source.where or printable(str(source.folder))


def shortened(text: str) -> str:
    """A quoted piece of text that fits into a line."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return repr(printable(cut))


def printable(text: str) -> str:
    """The text with what no terminal or JSON file takes (undecodable bytes of a file name) replaced."""
    return text.encode("utf-8", "replace").decode()
