"""The pictures and captions of a plan: read once, known from the workspace's cache the next time, and judged.

A plan writes nothing. But where a workspace keeps such a cache already, or so many pictures had to be decoded that
people would wait for them again, what was read is kept: it is no part of the plan.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from kohya_runner.dataset.checks.dataset_findings import dataset_findings
from kohya_runner.dataset.checks.edits import check_edits
from kohya_runner.dataset.checks.folders import check_datasets
from kohya_runner.dataset.edit import read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kohya_runner.dataset.facts import Source
    from kohya_runner.dataset.scan_cache import ScanCache
    from kohya_runner.dataset.survey import Survey
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.findings import Finding
    from kohya_runner.plan.value import Request
    from kohya_runner.workspace import Workspace

    Progress = Callable[[str, int, int], None]

CACHE, NAME = "kohya-runner", "pictures.sqlite3"
MANY = 1000
"""Files of all folders together from which on a plan keeps what it read: some seconds of decoding."""


def read_all(
    sources: Sequence[Source], request: Request, workspace: Workspace, on_progress: Progress | None
) -> tuple[Survey, ...]:
    """Every folder, with progress by its name."""
    surveys = []
    with _cache(sources, request, workspace) as cache:
        for source in sources:

            def show(done: int, total: int, name: str = source.folder.name) -> None:
                if on_progress is not None:
                    on_progress(f"reading {name}", done, total)

            surveys.append(read_source(source, cache, progress=show if on_progress else None))
    return tuple(surveys)


def findings(
    surveys: Sequence[Survey], rules: Rules, own: Callable[[Source], Rules] | None = None
) -> tuple[Finding, ...]:
    """Problems in the data. ``dataset check`` counts tokens; a plan loads no tokenizer."""
    return tuple(note.finding for note in dataset_findings(surveys, rules, own)[1])


def alone(surveys: Sequence[Survey]) -> tuple[Finding, ...]:
    """Problems in the data whatever the trainer's options are."""
    edits = tuple(finding for one in surveys if one.edit for finding in check_edits(one.edit))
    return (*edits, *check_datasets(one.scan for one in surveys))


def _cache(
    sources: Sequence[Source], request: Request, workspace: Workspace
) -> AbstractContextManager[ScanCache | None]:
    folder = workspace.cache / CACHE
    known = os.path.isfile(folder / NAME)
    keep = request.deep or known or (_may_write(request, workspace) and _many(sources))
    if not keep and not known:
        return nullcontext()
    from kohya_runner.dataset.scan_cache import ScanCache  # the database costs 20 ms that a small plan need not pay

    return ScanCache(folder, readonly=not keep, fresh=request.fresh)


def _may_write(request: Request, workspace: Workspace) -> bool:
    """For another machine's run this machine gets no workspace of its own."""
    return not request.elsewhere or os.path.isdir(workspace.root)


def _many(sources: Sequence[Source]) -> bool:
    return sum(_entries(source.folder) for source in sources) >= MANY


def _entries(folder: Path) -> int:
    if os.path.isfile(folder):  # of an edit dataset: two pictures a line, and a line has 100 bytes or so
        return folder.stat().st_size // 50
    try:
        with os.scandir(folder) as entries:
            return sum(1 for _ in entries)
    except OSError:
        return 0
