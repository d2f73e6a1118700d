"""Pictures with their control images, laid out for a trainer that is told each pair of folders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.facts import Folder
from kohya_runner.dataset.pairs import condition_entry
from kohya_runner.dataset.tree.layout import tree_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kohya_runner.dataset.pairs import Paired
    from kohya_runner.dataset.tree.layout import Layout


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
