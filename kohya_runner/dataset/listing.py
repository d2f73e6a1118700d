"""The names in a source folder: which are images, captions, other files and folders; and the captions, read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.dataset.captions import read_caption
from kohya_runner.dataset.facts import IMAGE_EXTENSIONS, Caption, dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kohya_runner.dataset.facts import Source


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder, sorted, by what they are to the trainer."""

    images: tuple[str, ...]
    captions: tuple[str, ...]
    strays: tuple[str, ...]
    folders: tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether a name has an image's extension, in whatever case: the layout writes it in lower case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122


def stem(name: str) -> str:
    """What an image and its caption share."""
    return os.path.splitext(name)[0]  # noqa: PTH122 - what the trainer splits with


def listed(folder: Path, extension: str) -> Listing:
    """The files of a folder itself, not those of subfolders, and no dotfiles, as the trainer reads it.

    Raises:
        OSError: the folder cannot be listed.
    """
    images, captions, strays, folders = [], [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif is_image(entry.name):
                images.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() == extension.lower():  # noqa: PTH122
                captions.append(entry.name)
            else:
                strays.append(entry.name)
    return Listing(tuple(sorted(images)), tuple(sorted(captions)), tuple(sorted(strays)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere, or to itself, is a file that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def captions_by_stem(source: Source, names: Iterable[str]) -> Mapping[str, Caption]:
    """Captions by stem. Where ``a.txt`` and ``a.TXT`` are both there, the one spelt like the rule counts."""
    chosen: dict[str, str] = {}
    for name in names:
        if stem(name) not in chosen or name.endswith(dotted(source.captions.extension)):
            chosen[stem(name)] = name
    return {stem: _caption(source, source.folder / name) for stem, name in chosen.items()}


def _caption(source: Source, path: Path) -> Caption:
    why = source.refuses(path)
    return Caption(path, "", 0, "", problem=f"unreadable: {why}") if why else read_caption(path)


def images_in(folder: Path) -> int:
    """How many images a folder holds; 0 where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for entry in entries if is_image(entry.name))
    except OSError:
        return 0
