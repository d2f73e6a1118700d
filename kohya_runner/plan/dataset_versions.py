"""``datasets[].prepare``: the version that an entry trains on, found or told as missing; a launch makes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.buckets import parse_resolution, problems
from kohya_runner.dataset.captions import is_rows_file
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.prepare import is_current, prepare, step_of
from kohya_runner.dataset.prepare.shaping import PrepareSettings, settings_for
from kohya_runner.dataset.trainer_view import rules_from
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error, info

if TYPE_CHECKING:
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.workspace import Workspace


Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """What an entry of the recipe asks for: its raw pictures, how they are prepared, and where the versions are."""

    source: Path
    root: Path
    settings: PrepareSettings
    where: str

    def current(self) -> Path | None:
        """The newest version that is as recipe and pictures are now; where the pictures are gone, the last one."""
        step, there = step_of(self.source, self.settings), self.source.is_dir()
        for folder in reversed(manifest.versions(self.root)):
            known = manifest.read(folder)
            if known and step in known.steps and (not there or is_current(self.source, folder, self.settings)):
                return folder
        return None

    def make(self, progress: Progress | None) -> tuple[Finding, ...]:
        """A new version, of what the last one has and what changed; or the one that a cut run began."""
        step, last = step_of(self.source, self.settings), manifest.versions(self.root)[-1:]
        known = manifest.read(last[0]) if last else None
        folder = last[0] if last and known is None else manifest.next_version(self.root)
        if known is not None and step in known.steps:
            for path in last[0].iterdir():
                if not path.name.startswith("."):
                    os.link(path, folder / path.name)  # replaced where it changes, never written to

        def show(done: int, total: int) -> None:
            if progress is not None:
                progress(f"preparing {self.source.name}", done, total)

        return prepare(self.source, folder, self.settings, progress=show).findings


def wanted_version(loaded: Loaded, index: int, workspace: Workspace) -> WantedVersion | None:
    """Of one entry; None where it is trained on as it is."""
    entry = loaded.datasets[index]
    if entry.prepare is None or not entry.images:
        return None
    own = entry.prepare

    def option(name: str) -> object:
        return entry.options.get(name, loaded.args.get(name))

    size = own.size or max(parse_resolution(option("resolution")) or (1024,))
    buckets = rules_from(option).buckets or settings_for(size)
    if own.size:
        changed = replace(buckets, resolution=(size, size))
        buckets = settings_for(size) if problems(changed) else changed
    source = loaded.path_from(entry.images, "datasets", index, "images")
    number = f"-{index + 1}" if len(loaded.datasets) > 1 else ""
    root = workspace.prepared / f"{loaded.word('name', '-')}{number}"
    settings = PrepareSettings(buckets, own.style, own.background, own.format, own.crop, own.keep_near)
    return WantedVersion(source, root, settings, str(loaded.place("datasets", index, "prepare")))


def version_or_finding(loaded: Loaded, index: int, workspace: Workspace) -> Path | Finding | None:
    """The folder to train on, what stands against it, or None for an entry without ``prepare``."""
    wanted = wanted_version(loaded, index, workspace)
    if wanted is None:
        return None
    entry = loaded.datasets[index]
    if is_rows_file(wanted.source) or entry.conditioning is not None:
        text = f"datasets.{index}.prepare: is for a folder of pictures, without conditioning and metadata files"
        return error("recipe.value", text, where=wanted.where, hint="take prepare out of this entry")
    found = wanted.current()
    if found is not None:
        return found
    if not wanted.source.is_dir():
        return error("dataset.missing", f"{wanted.source}: there is no such folder", where=wanted.where)
    text = f"{wanted.source} will be prepared into {wanted.root} first: its images and steps are not known until then"
    hint = "launch does it; to see the result first, run: kohya-runner dataset prepare FOLDER --output DIR"
    return info("dataset.unprepared", text, where=wanted.where, hint=hint)


def make_versions(loaded: Loaded, workspace: Workspace, progress: Progress | None) -> Iterator[Finding]:
    """Make whatever is missing, and say what was found in it.

    Raises:
        UsageError, RunExistsError, PreflightError: it cannot be made.
    """
    for index in loaded.datasets:
        wanted = wanted_version(loaded, index, workspace)
        if wanted is not None and wanted.current() is None:
            yield from wanted.make(progress)
            if wanted.current() is None:
                raise UsageError(f"{wanted.source} changes while it is prepared", hint="launch again")
