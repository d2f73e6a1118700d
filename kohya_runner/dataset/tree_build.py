"""The repeat folders on the disk: built beside, moved into place in one step, never changed under a run.

Below the recipe's own folder each layout has a tree named by its key. A changed recipe has another key and so another
tree; ``prune`` removes those that nobody uses any more.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kohya_runner import safe_files
from kohya_runner.dataset import tree_manifest as manifest
from kohya_runner.dataset import written_files
from kohya_runner.dataset.facts import Folder
from kohya_runner.dataset.layout import CONFIG, METADATA, Layout, head
from kohya_runner.dataset.tree_manifest import carry_over, drop_unfinished, is_cache_of
from kohya_runner.errors import PreflightError

SET_ASIDE = "set-aside"
OURS = (manifest.NAME, METADATA, CONFIG, "metadata.jsonl")
ABANDONED = 3600.0
"""Seconds after which an unfinished tree is one that nobody is building any more."""

_TREE = re.compile(r"[0-9a-f]{12}")
_UNFINISHED = re.compile(r"\.[0-9a-f]{12}\.(partial|replaced)-\d+")
_INFO_CACHE = "metadata_cache.json"  # what --cache_info writes (library/dreambooth_dataset.py:31)


@dataclass(frozen=True, slots=True)
class BuiltTree:
    """What ``build`` did."""

    created: bool  # False: the tree was there and right
    way: str = ""  # "symlink", "hard link" or "copy"
    carried: int = 0  # caches taken over from older trees
    dropped: tuple[Path, ...] = ()  # half-written caches removed
    set_aside: tuple[Path, ...] = ()  # files somebody had put into the tree, and where they are now


def build(layout: Layout, *, ways: tuple[written_files.LinkMethod, ...] = written_files.LINK_METHODS) -> BuiltTree:
    """Make the tree of a layout be there, whole. Nothing happens where it is. Sources are never written to.

    PreflightError where the disk refuses, DatasetError where a source changed since it was read.
    """
    try:
        if is_intact(layout):
            return BuiltTree(created=False, dropped=drop_unfinished(layout.tree))
        partial = layout.root / f".{layout.key}.partial-{os.getpid()}"
        try:
            return _built(layout, partial, ways)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as problem:
        text = f"cannot lay out the dataset under {layout.root}: {problem.strerror or problem}"
        raise PreflightError(text, hint="free or change the workspace") from problem


def is_intact(layout: Layout) -> bool:
    """Whether the tree is there with exactly its files, each leading to its source, and besides only their caches."""
    found = manifest.read(layout.tree)
    if found is None or found.key != layout.key or next(_strays(layout), None) is not None:
        return False
    if not all(_is_made(layout, part, found) for part in written_files.parts(layout)):
        return False
    beside = all(safe_files.read_text(path) == text for path, text in _beside(layout))
    return beside and all(written_files.leads_to(path, source, size) for path, source, size in _files(layout))


def _beside(layout: Layout) -> Iterator[tuple[Path, str]]:
    """The files beside the folders, and their text."""
    if layout.metadata:
        yield layout.tree / layout.metadata_name, layout.metadata
    if layout.config:
        yield layout.tree / CONFIG, layout.config


def _is_made(layout: Layout, part: written_files.WrittenFile, found: manifest.Manifest) -> bool:
    """Whether a file that leads to no source is as it was written: a caption by its text, a picture by its size."""
    try:
        if part.caption:
            return part.path.read_bytes() == written_files.caption_bytes(part.entry)
        return part.path.stat().st_size == found.made.get(part.path.relative_to(layout.tree).as_posix())
    except OSError:
        return False


def prune(root: Path, keep: Collection[str]) -> tuple[Path, ...]:
    """Remove the trees below a recipe's folder whose key is not in ``keep``, and long abandoned halves of trees."""
    removed = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        built = manifest.read(path) if _TREE.fullmatch(path.name) and path.name not in keep else None
        old = built is not None and built.key == path.name  # its name alone may be anybody's
        abandoned = _UNFINISHED.fullmatch(path.name) and time.time() - path.lstat().st_mtime > ABANDONED
        if (old or abandoned) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return tuple(removed)


def _built(layout: Layout, partial: Path, ways: tuple[written_files.LinkMethod, ...]) -> BuiltTree:
    shutil.rmtree(partial, ignore_errors=True)
    for folder in (*layout.folders, *layout.conditions):
        (partial / layout.folder_path(folder).relative_to(layout.tree)).mkdir(parents=True, exist_ok=True)
    if not layout.edits:
        (partial / "train").mkdir(parents=True, exist_ok=True)
    for path, source, size in _files(layout):
        ways = written_files.place(source, partial / path.relative_to(layout.tree), size, ways)
    trees = (path for path in _children(layout.root) if _TREE.fullmatch(path.name))  # the one to be replaced, too
    carried = carry_over((found for found in map(manifest.read, trees) if found is not None), layout, partial)
    for path, text in _beside(layout):
        safe_files.write_text(partial / path.relative_to(layout.tree), text)
    made = {
        str(p.path.relative_to(layout.tree)): written_files.make(p, partial / p.path.relative_to(layout.tree))
        for p in written_files.parts(layout)
    }
    manifest.write(layout, partial, made)
    for directory in (*partial.glob("*/*"), *partial.glob("*/"), partial):
        _flush(directory)
    aside = _publish(layout, partial)
    _flush(layout.root)
    return BuiltTree(created=True, way=ways[0].name, carried=carried, set_aside=aside)


def _publish(layout: Layout, partial: Path) -> tuple[Path, ...]:
    """Move the finished tree into place; where somebody else was faster, theirs stays."""
    if is_intact(layout):
        return ()
    if not layout.tree.exists():
        try:
            partial.rename(layout.tree)
        except OSError:
            if not is_intact(layout):
                raise
        return ()
    aside = _put_aside(layout)
    replaced = layout.root / f".{layout.key}.replaced-{os.getpid()}"
    layout.tree.rename(replaced)
    partial.rename(layout.tree)
    shutil.rmtree(replaced, ignore_errors=True)
    return aside


def _put_aside(layout: Layout) -> tuple[Path, ...]:
    """Move files that somebody put into the tree out of it: they are not ours to remove."""
    moved = []
    for path in _strays(layout):
        if not path.is_symlink() and path.suffix != ".npz" and path.name not in OURS:
            target = layout.root / SET_ASIDE / layout.key / f"{time.time_ns()}-{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            moved.append(target)
    return tuple(moved)


def _files(layout: Layout) -> Iterator[tuple[Path, Path, int]]:
    """Each laid-out file, its source and its size."""
    for folder in (*layout.folders, *layout.conditions):
        path = layout.folder_path(folder)
        for entry in folder.entries:
            if entry.fit is None:
                yield path / entry.name, entry.image.path, entry.image.bytes
            if entry.caption and entry.image.caption and not entry.written:
                yield path / entry.caption, entry.image.caption.path, entry.image.caption.bytes


def _strays(layout: Layout) -> Iterator[Path]:
    """What is in the tree and does not belong there: other folders, other files, caches of no image of it."""
    folders = {layout.folder_path(folder): folder for folder in (*layout.folders, *layout.conditions)}
    kinds = {path.parent for path in folders} | {layout.tree / "train"}
    yield from (p for p in _children(layout.tree) if p not in kinds and p.name not in OURS)
    yield from (p for kind in sorted(kinds) for p in _children(kind) if p not in folders)
    for path, folder in folders.items():
        yield from _strays_in(path, folder)


def _strays_in(path: Path, folder: Folder) -> Iterator[Path]:
    names = {entry.name for entry in folder.entries} | {entry.caption for entry in folder.entries}
    stems = {head(entry.name): os.path.splitext(entry.name)[0] for entry in folder.entries}  # noqa: PTH122
    for child in _children(path):
        stem = stems.get(head(child.name))
        cache = stem is not None and is_cache_of(child.name, stem)
        if child.name not in names and not cache and child.name != _INFO_CACHE:
            yield child


def _children(path: Path) -> tuple[Path, ...]:
    return tuple(sorted(path.iterdir())) if path.is_dir() else ()


def _flush(directory: Path) -> None:
    """Put a folder's names on the disk; some network file systems cannot, and then it is theirs to be slow."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
