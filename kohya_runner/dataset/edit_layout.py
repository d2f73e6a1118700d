"""Edit pairs laid out: one tree that every trainer of pairs is given, whatever the files are called.

``<repeats>_pairs/target/000001.png`` is the picture after the edit, ``target/000001.txt`` the instruction,
``control/000001.png`` the picture before it, in the size of its target, and ``control/000001_1.png`` a second one,
which only musubi-tuner is given. The names of targets are numbers of one length without an underscore: no stem is
twice there (musubi-tuner overwrites the caches of one with the other's), none is taken for a numbered control, and
sd-scripts looks for no caption but the one beside it (library/dreambooth_dataset.py:90-97).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.edit import CONCEPT, EditPair, EditSet, Paired
from kohya_runner.dataset.facts import Entry, Folder, Image
from kohya_runner.dataset.layout import Layout, tree_key


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


VERSION = 1
DIGITS = 6


@dataclass(frozen=True, slots=True)
class EditFolder:
    """Where the pairs of one number of repeats will be; both folders hold the same stems and nothing else."""

    repeats: int
    target: Path
    control: Path
    caption_extension: str
    pairs: tuple[tuple[Entry, Entry], ...]  # (target, control)


def with_edits(layout: Layout, edits: Iterable[EditSet], *, fit: bool = True) -> Layout:
    """The layout as edit pairs alone. ``fit``: a picture before the edit is given the size of the one after it."""
    every = [(edit.source.repeats, pair) for edit in edits for pair in edit.usable]
    digits = max(DIGITS, len(str(len(every))))  # stems are unique over all datasets
    numbered = [(repeats, f"{number:0{digits}d}", pair) for number, (repeats, pair) in enumerate(every, start=1)]
    folders, conditions = [], []
    for repeats in sorted({repeats for repeats, _, _ in numbered}):
        chosen = [(name, pair) for number, name, pair in numbered if number == repeats]
        targets = tuple(
            Entry(f"{name}{image.path.suffix.lower()}", image, f"{name}{layout.caption_extension}", written=True)
            for name, image in ((name, pair.target) for name, pair in chosen)
        )
        controls = tuple(entry for name, pair in chosen for entry in _controls(name, pair, fit=fit))
        folders.append(Folder(CONCEPT, repeats, regularization=False, entries=targets))
        conditions.append(Folder(CONCEPT, repeats, regularization=False, entries=controls, conditions=True))
    fits = [entry.fit for folder in conditions for entry in folder.entries]
    key = tree_key((*folders, *conditions), layout.settings_key, json.dumps(["edit", VERSION, fits]))
    return replace(layout, folders=tuple(folders), conditions=tuple(conditions), key=key, edits=True)


def edit_folders(layout: Layout) -> tuple[EditFolder, ...]:
    """The folders of a layout of edit pairs, for a trainer that is told each of them."""
    return tuple(
        EditFolder(
            folder.repeats, layout.folder_path(folder), layout.folder_path(control), layout.caption_extension,
            tuple(zip(folder.entries, control.entries, strict=True)),
        )
        for folder, control in zip(layout.folders, layout.conditions, strict=True)
    )  # fmt: skip


def _controls(stem: str, pair: EditPair, *, fit: bool) -> Iterator[Entry]:
    """Under the target's stem, and further ones in their order (dataset/datasources.py:163 of musubi-tuner)."""
    for number, image in enumerate(pair.controls):
        name, size = f"{stem}_{number}" if number else stem, pair.target.size
        plain = not fit or image.size == size
        yield Entry(f"{name}{image.path.suffix.lower() if plain else '.png'}", image, fit=None if plain else size)
