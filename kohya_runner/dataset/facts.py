"""What was found in the dataset folders: frozen values, read once, that everything else decides on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What sd-scripts reads without extra packages (library/train_util.py:104); it also knows the all-upper forms."""


@dataclass(frozen=True, slots=True)
class CaptionRules:
    """What the recipe promises about every caption of a dataset."""

    extension: str = ".txt"
    starts_with: str | None = None
    contains_any: tuple[str, ...] = ()
    contains_all: tuple[str, ...] = ()
    matches: str | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of the recipe's ``datasets``: an absolute folder, and what to do with it."""

    folder: Path
    concept: str
    repeats: int = 1
    regularization: bool = False
    expect: int | None = None
    captions: CaptionRules = field(default_factory=CaptionRules)
    where: str = ""  # file:line:column of the entry in the recipe


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption file. ``text`` is what the trainer reads of it: the first line, stripped."""

    path: Path
    text: str
    lines: int
    sha256: str
    problem: str = ""  # "", "empty", "blank first line", "not UTF-8", "unreadable: ..."
    bom: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image file, fully decoded once. Width and height in pixels, before any EXIF rotation."""

    path: Path
    width: int
    height: int
    bytes: int
    sha256: str
    caption: Caption | None = None
    problem: str = ""  # why it cannot be read, "" if it can
    format: str = ""  # what the content is, by Pillow's name


@dataclass(frozen=True, slots=True)
class Scan:
    """All that was found in one source folder; ``images`` sorted by name."""

    source: Source
    images: tuple[Image, ...]
    orphans: tuple[Path, ...] = ()  # caption files without an image
    strays: tuple[Path, ...] = ()  # files the trainer would not read
    subfolders: tuple[tuple[str, int], ...] = ()  # (name, images inside): not read, the trainer does not recurse
    problem: str = ""  # why the folder could not be read at all
