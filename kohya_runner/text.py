"""Files and numbers in a sentence: a few names and a count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHOWN = 5
LONGEST = 80


def names(paths: Sequence[Path]) -> str:
    """``a.png, b.png and 7 more``."""
    shown = ", ".join(printable(path.name) for path in paths[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str) -> str:
    """A quoted piece of text that fits into a line."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return repr(printable(cut))


def printable(text: str) -> str:
    """The text with what no terminal or JSON file takes (undecodable bytes of a file name) replaced."""
    return text.encode("utf-8", "replace").decode()
