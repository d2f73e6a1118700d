"""The third stage of a plan: the recipe's datasets as sources, read once, and judged.

A plan writes nothing. But where a workspace keeps a cache of pictures already, or so many pictures had to be decoded
that people would wait for them again, what was read is kept: it is no part of the plan.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.caption_checks import regex_problem
from kohya_runner.dataset.captions import is_edit_file, is_rows_file
from kohya_runner.dataset.facts import CaptionRules, Scan, Source
from kohya_runner.dataset.folder_checks import check_datasets, dataset_findings, edit_problems
from kohya_runner.dataset.layout import concept_problem
from kohya_runner.dataset.survey import Survey, read_source
from kohya_runner.dataset.token_count import Encoder
from kohya_runner.engines import method_data
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.support import Support
from kohya_runner.engines.table import user_settings
from kohya_runner.engines.text_encoders import encoders
from kohya_runner.findings import Finding, error
from kohya_runner.plan import commands
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import Dataset, RandomModel
from kohya_runner.slips import elsewhere
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.dataset.edit import Pairs
    from kohya_runner.dataset.scan_cache import ScanCache
    from kohya_runner.plan.options import GivenOptions
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.plan.value import Request


Progress = Callable[[str, int, int], None]
OwnOptions = Callable[[Mapping[str, Any]], str]


CACHE, NAME = "kohya-runner", "pictures.sqlite3"
MANY = 1000
"""Files of all folders together from which on a plan keeps what it read: some seconds of decoding."""


@dataclass(frozen=True, slots=True)
class ReadData:
    """The pictures of each dataset, the pairs among them, and what stands against them."""

    scans: tuple[Scan, ...]
    pairs: tuple[Pairs, ...]
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...] = ()


def read_data(opened: Opened, given: GivenOptions, support: Support, on_progress: Progress | None) -> ReadData:
    loaded, engine, parsed = opened.loaded, opened.engine, given.parsed
    found, faults = recipe_sources(opened, support)
    surveys = read_all(found, opened.request, opened.workspace, on_progress)
    scans = tuple(one.scan for one in surveys)
    readers = find_encoders(opened, parsed, support)()
    rules = replace(engine.picture_rules(loaded, parsed), encoders=readers)
    noted = dataset_findings(surveys, rules, engine.dataset_rules(parsed, readers))[1]
    judged = tuple(note.finding for note in noted)
    unknown = ", ".join(one.name for one in readers if not one.known)
    if any(fault.code == "dataset.unprepared" for fault in faults):  # what is there is not all there will be
        judged = tuple(finding for finding in judged if finding.code != "dataset.empty")
    if unknown:  # then only what is too long by any tokenizer is certain
        judged = tuple(finding for finding in judged if finding.code != "caption.length")
    checked = method_data.eased(judged, support, parsed, scans)
    pairs = method_data.read_pairs(loaded, support, surveys)
    method = method_data.findings(loaded, support, parsed, scans, pairs)
    uncounted = (f"tokens of captions, exactly: the tokenizer of {unknown} is not here yet",) if unknown else ()
    return ReadData(scans, pairs, (*faults, *checked, *method), uncounted)


def find_encoders(opened: Opened, parsed: ParsedOptions, support: Support) -> Callable[[], tuple[Encoder, ...]]:
    """The text encoders of a recipe with the tokenizers that are here; nothing is downloaded."""
    model = opened.loaded.recipe.model if opened.loaded.recipe else ""
    places = tokenizer_places(opened.workspace, parsed.get("tokenizer_cache_dir"), model)
    root = opened.checkout.root if opened.checkout else None
    return partial(encoders, support, parsed.get, model=str(model), places=places, checkout=root)


def tokenizer_places(room: Workspace, stated: object, model: object = None) -> tuple[Path, ...]:
    """Where tokenizers may be: the option's folder, those of a random-weight model, the workspace's Hub cache."""
    made: tuple[Path, ...] = ()
    if isinstance(model, RandomModel):
        from kohya_runner.install.random_model import random_model_paths

        made = (random_model_paths(model.random, room.models).tokenizers,)
    own = (Path(str(stated)),) if stated else ()
    return (*own, *made, Path(room.environment()["HF_HUB_CACHE"]))


def recipe_sources(opened: Opened, support: Support | None) -> tuple[tuple[Source, ...], tuple[Finding, ...]]:
    """The sources of a recipe, with the captions' extension that the trainer will look for.

    Their links may lead into the recipe's own folder, and those of the settings.
    """
    loaded, own = opened.loaded, partial(opened.engine.own_options, support)
    found, faults = sources(loaded, loaded.caption_extension, opened.workspace, own)
    roots = (loaded.place("datasets").folder, *user_settings(opened.environ).folders)
    follow = "dataset.link" in opened.request.allow
    return tuple(replace(source, roots=roots, follow=follow) for source in found), faults


def read_without_options(opened: Opened, on_progress: Progress | None) -> ReadData:
    """The datasets of a recipe whose family or options are not known, as far as they can be read."""
    found, faults = recipe_sources(opened, None)
    surveys = read_all(found, opened.request, opened.workspace, on_progress)
    scans = tuple(one.scan for one in surveys)
    return ReadData(scans, (), (*faults, *edit_problems(surveys), *check_datasets(scans)))


def read_all(
    sources: Sequence[Source], request: Request, workspace: Workspace, on_progress: Progress | None
) -> tuple[Survey, ...]:
    """Every folder, from the workspace's cache where it has one."""
    with _cache(sources, request, workspace) as cache:
        return read_sources(sources, cache, on_progress)


def read_sources(
    sources: Sequence[Source], cache: ScanCache | None, on_progress: Progress | None
) -> tuple[Survey, ...]:
    """Every folder, with progress by its name."""
    surveys = []
    for source in sources:

        def show(done: int, total: int, name: str = source.folder.name) -> None:
            if on_progress is not None:
                on_progress(f"reading {name}", done, total)

        surveys.append(read_source(source, cache, progress=show if on_progress else None))
    return tuple(surveys)


def _cache(
    sources: Sequence[Source], request: Request, workspace: Workspace
) -> AbstractContextManager[ScanCache | None]:
    folder = workspace.cache / CACHE
    known = os.path.isfile(folder / NAME)
    ours = not request.elsewhere or os.path.isdir(workspace.root)  # no workspace here for another machine's run
    keep = request.deep or known or (ours and sum(_entries(source.folder) for source in sources) >= MANY)
    if not keep and not known:
        return nullcontext()
    from kohya_runner.dataset.scan_cache import ScanCache  # the database costs 20 ms that a small plan need not pay

    return ScanCache(folder, readonly=not keep, fresh=request.fresh)


def _entries(folder: Path) -> int:
    if os.path.isfile(folder):  # of an edit dataset: two pictures a line, and a line has 100 bytes or so
        return folder.stat().st_size // 50
    try:
        with os.scandir(folder) as entries:
            return sum(1 for _ in entries)
    except OSError:
        return 0


def sources(
    loaded: Loaded, caption_extension: str, workspace: Workspace, own: OwnOptions
) -> tuple[tuple[Source, ...], tuple[Finding, ...]]:
    """One source per entry of ``datasets``; faults that only show when its words are used.

    ``own`` makes one text of the options of one dataset alone; "" where the trainer takes none.
    """
    found: list[Source] = []
    faults: list[Finding] = []
    for index, entry in loaded.datasets.items():
        concept = concept_problem(entry.concept)
        if concept:
            where = str(loaded.place("datasets", index, "concept"))
            faults.append(error("recipe.value", f"datasets.{index}.concept: {concept}", where=where))
        pattern = entry.captions.matches
        if pattern is not None and (problem := regex_problem(pattern)) is not None:
            where = str(loaded.place("datasets", index, "captions", "matches"))
            faults.append(error("recipe.value", f"datasets.{index}.captions.matches: {problem}", where=where))
        if away := _away(loaded, index):
            faults += away
            continue
        version: Path | Finding | None = None
        if entry.prepare is not None or entry.caption is not None:
            from kohya_runner.plan.dataset_versions import version_or_finding

            version = version_or_finding(loaded, index, workspace)
        if isinstance(version, Finding):
            faults.append(version)
            continue
        for source in _sources(loaded, index, caption_extension, workspace, own):
            if version is not None and source.made is None:
                source = replace(source, folder=version)  # noqa: PLW2901 - the same entry, at its version
            misplaced = _misplaced(source, workspace.datasets / loaded.word("name", "-")) or _rows_faults(source)
            faults += misplaced
            if not misplaced:
                found.append(source)
    return tuple(found), (*faults, *commands.findings(loaded, workspace))


def _away(loaded: Loaded, index: int) -> list[Finding]:
    """An error for an address or a Windows path: no folder of this machine."""
    entry, found = loaded.datasets[index], []
    for key, text in (("images", entry.images), ("conditioning", entry.conditioning)):
        if said := elsewhere(text or "", f"datasets.{index}.{key}"):
            where = str(loaded.place("datasets", index, key))
            found.append(error("dataset.missing", f"datasets.{index}.{key}: {said[0]}", where=where, hint=said[1]))
    return found


def _sources(loaded: Loaded, index: int, extension: str, workspace: Workspace, own: OwnOptions) -> Iterator[Source]:
    """The folder that is named, and the one of class images that are painted."""
    entry = loaded.datasets[index]
    if entry.images:
        yield _source(loaded, index, entry, extension, own)
    made = commands.class_images(loaded, index, entry, workspace)
    if made is not None:
        where = loaded.where("datasets", index, "num_class_images")
        options = own(entry.options)
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
    from kohya_runner.dataset.caption_rows import read_rows

    return list(read_rows(source.metadata).findings())


def _source(loaded: Loaded, index: int, entry: Dataset, extension: str, own: OwnOptions) -> Source:
    captions = entry.captions
    usable = captions.matches is not None and regex_problem(captions.matches) is None
    said = captions.model_dump() | {"extension": captions.extension or extension}
    rules = CaptionRules(**(said if usable else said | {"matches": None}))
    path = loaded.path_from(entry.images, "datasets", index, "images")
    listed = is_rows_file(path) and not is_edit_file(path)
    return Source(
        folder=path.parent if listed else path,
        metadata=path if listed else None,
        concept=entry.concept,
        repeats=entry.repeats,
        regularization=entry.regularization,
        expect=entry.expect,
        captions=rules,
        where=str(loaded.place("datasets", index, "images")),
        options=own(entry.options),
    )
