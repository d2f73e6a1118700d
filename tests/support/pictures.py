"""Real files for the dataset tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import PIL.Image

from kohya_runner.dataset.facts import CaptionRules, Entry, Folder, Image, Source
from kohya_runner.dataset.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kohya_runner.dataset.facts import Scan


def draw(path: Path, size: tuple[int, int] = (24, 24), *, colour: int = 0, kind: str | None = None) -> Path:
    """An image file of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (colour, 0, 0)).save(path, format=kind)
    return path


def pair(folder: Path, stem: str, caption: str = "a cat", *, colour: int = 0) -> Path:
    """``stem.png`` and ``stem.txt``."""
    path = draw(folder / f"{stem}.png", colour=colour)
    (folder / f"{stem}.txt").write_text(caption, encoding="utf-8")
    return path


def source(folder: Path, *, rules: dict[str, Any] | None = None, **more: Any) -> Source:
    """A dataset entry over a folder."""
    return Source(folder, **{"concept": "cat", **more}, captions=CaptionRules(**(rules or {})))


def scanned(folder: Path, *, rules: dict[str, Any] | None = None, **more: Any) -> Scan:
    """The scan of a dataset entry."""
    return survey(source(folder, rules=rules, **more)).scan


def laid(root: Path, sizes: Iterable[tuple[int, int]], *, repeats: int = 1, regularization: bool = False) -> Folder:
    """A laid-out folder of images that are nowhere: only their sizes matter."""
    entries = tuple(
        Entry(f"{n:08x}-{n}.png", Image(root / f"{n}.png", width, height, 1, f"hash {n}"))
        for n, (width, height) in enumerate(sizes)
    )
    return Folder("cat", repeats, regularization, entries)
