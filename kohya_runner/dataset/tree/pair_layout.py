"""Pictures laid out with their condition images beside them: as one flat folder, or folder by folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.facts import Entry, Folder
from kohya_runner.dataset.listing import stem
from kohya_runner.dataset.pairs import CONCEPT
from kohya_runner.dataset.tree.layout import tree_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kohya_runner.dataset.facts import Image
    from kohya_runner.dataset.pairs import Paired
    from kohya_runner.dataset.tree.layout import Layout


def with_conditions(layout: Layout, paired: Iterable[Paired]) -> Layout:
    """The layout as one flat folder of pictures and one of their condition images under the same stems."""
    partners = {path: partner for pair in paired for path, partner in pair.partners.items()}
    every = sorted((e for folder in layout.folders for e in folder.entries), key=lambda entry: entry.name)
    pictures = tuple(entry for entry in every if entry.image.path in partners)
    folders = (Folder(CONCEPT, 1, regularization=False, entries=pictures),) if pictures else ()
    conditions = tuple(condition_entry(entry, partners[entry.image.path]) for entry in pictures)
    laid = (Folder(CONCEPT, 1, regularization=False, entries=conditions, conditions=True),) if pictures else ()
    key = tree_key((*folders, *laid), layout.settings_key)
    return replace(layout, folders=folders, conditions=laid, key=key)


def with_controls(layout: Layout, paired: Iterable[Paired]) -> Layout:
    """The layout without pictures that have no caption, each folder with one of its control images beside it.

    A folder has control images for all of its pictures or for none: what lacks one is left out, and said elsewhere.
    """
    partners = {path: partner for pair in paired for path, partner in pair.partners.items()}
    folders, controls = [], []
    for folder in layout.folders:
        captioned = tuple(entry for entry in folder.entries if entry.caption)
        kept = tuple(entry for entry in captioned if entry.image.path in partners)
        laid = tuple(condition_entry(entry, partners[entry.image.path]) for entry in kept)
        if kept or captioned:
            folders.append(replace(folder, entries=kept or captioned))
        if kept:
            controls.append(Folder(folder.concept, folder.repeats, regularization=False, entries=laid, conditions=True))
    key = tree_key((*folders, *controls), layout.settings_key)
    return replace(layout, folders=tuple(folders), conditions=tuple(controls), key=key)


def condition_entry(entry: Entry, image: Image) -> Entry:
    """A condition image under its picture's laid-out stem."""
    return Entry(f"{stem(entry.name)}{image.path.suffix.lower()}", image)
