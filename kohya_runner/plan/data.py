"""The recipe's datasets as sources, their scans, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.checks.captions import regex_problem
from kohya_runner.dataset.edit_rows import is_edit
from kohya_runner.dataset.facts import CaptionRules, Source
from kohya_runner.dataset.rows_file import is_rows_file, read_rows
from kohya_runner.dataset.tree.layout import concept_problem
from kohya_runner.engines.sd_scripts import dataset_options
from kohya_runner.findings import Finding, error
from kohya_runner.plan import class_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.recipe.load import Loaded
    from kohya_runner.recipe.models import Dataset
    from kohya_runner.workspace import Workspace


def sources(
    loaded: Loaded, caption_extension: str, workspace: Workspace, *, own: bool = True
) -> tuple[tuple[Source, ...], tuple[Finding, ...]]:
    """One source per entry of ``datasets``; faults that only show when its words are used.

    ``own``: the trainer takes options of one dataset alone.
    """
    found: list[Source] = []
    faults: list[Finding] = []
    for index, entry in loaded.datasets.items():
        concept = concept_problem(entry.concept)
        if concept:
            where = str(loaded.place("datasets", index, "concept"))
            faults.append(error("recipe.value", f"datasets.{index}.concept: {concept}", where=where))
        faults += _regex(loaded, index, entry)
        for source in _sources(loaded, index, caption_extension, workspace, own=own):
            misplaced = _misplaced(source, workspace.datasets / loaded.word("name", "-")) or _rows_faults(source)
            faults += misplaced
            if not misplaced:
                found.append(source)
    return tuple(found), (*faults, *class_stage.findings(loaded, workspace))


def _sources(loaded: Loaded, index: int, extension: str, workspace: Workspace, *, own: bool) -> Iterator[Source]:
    """The folder that is named, and the one of class images that are painted."""
    entry = loaded.datasets[index]
    if entry.images:
        yield _source(loaded, index, entry, extension, own=own)
    made = class_stage.class_images(loaded, index, entry, workspace)
    if made is not None:
        where = loaded.where("datasets", index, "num_class_images")
        options = dataset_options.usable(entry.options) if own else ""
        yield Source(
            made.folder, entry.concept, entry.repeats, regularization=True, where=where, options=options, made=made
        )


def _misplaced(source: Source, trees: Path) -> list[Finding]:
    """An error where the pictures lie where their laid-out trees would: the one must never be taken for the other."""
    folder, ours = (Path(os.path.realpath(path)) for path in (source.folder, trees))
    if folder != ours and ours not in folder.parents:
        return []
    message = f"{source.folder} is in {trees}, where the runner lays its own folders out"
    hint = "write another name:, move the pictures, or choose another workspace"
    return [error("dataset.place", message, where=source.where, hint=hint)]


def _rows_faults(source: Source) -> list[Finding]:
    """What is wrong with the rows of a metadata file; nothing for a folder."""
    if source.metadata is None:
        return []
    if not source.metadata.is_file():
        hint = "name the folder that holds the images, or the file that lists them"
        return [error("dataset.missing", f"{source.metadata}: no such file", where=source.where, hint=hint)]
    return list(read_rows(source.metadata).findings())


def _regex(loaded: Loaded, index: int, entry: Dataset) -> list[Finding]:
    pattern = entry.captions.matches
    problem = regex_problem(pattern) if pattern is not None else None
    if problem is None:
        return []
    where = str(loaded.place("datasets", index, "captions", "matches"))
    return [error("recipe.value", f"datasets.{index}.captions.matches: {problem}", where=where)]


def _source(loaded: Loaded, index: int, entry: Dataset, extension: str, *, own: bool) -> Source:
    captions = entry.captions
    usable = captions.matches is not None and regex_problem(captions.matches) is None
    rules = CaptionRules(
        extension=captions.extension or extension,
        starts_with=captions.starts_with,
        contains_any=captions.contains_any,
        contains_all=captions.contains_all,
        matches=captions.matches if usable else None,
        max_tokens=captions.max_tokens,
    )
    path = loaded.path_from(entry.images, "datasets", index, "images")
    listed = is_rows_file(path) and not is_edit(path)
    return Source(
        folder=path.parent if listed else path,
        metadata=path if listed else None,
        concept=entry.concept,
        repeats=entry.repeats,
        regularization=entry.regularization,
        expect=entry.expect,
        captions=rules,
        where=str(loaded.place("datasets", index, "images")),
        options=dataset_options.usable(entry.options) if own else "",
    )
