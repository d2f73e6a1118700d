"""``datasets[].prepare`` and ``caption``: the version that is trained on, found or missing; a launch makes it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.buckets import parse_resolution, problems
from kohya_runner.dataset.captions import is_rows_file
from kohya_runner.dataset.facts import ANSWERS
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import VersionStep
from kohya_runner.dataset.prepare.prepare import is_current, prepare, step_of
from kohya_runner.dataset.prepare.shaping import PrepareSettings, settings_for
from kohya_runner.dataset.trainer_view import rules_from
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.findings import Finding, Severity, error, info
from kohya_runner.recipe.models import Prepare

if TYPE_CHECKING:
    from kohya_runner.dataset.captioning.caption_dataset import Captioner
    from kohya_runner.dataset.captioning.caption_text import CaptionSettings
    from kohya_runner.plan.data import Progress
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.workspace import Workspace

    Captioners = Callable[[CaptionSettings], Captioner]


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """What an entry of the recipe asks for: its raw pictures, what is made of them, and where the versions are."""

    source: Path
    root: Path
    settings: PrepareSettings
    where: str
    captions: CaptionSettings | None = None

    @property
    def pictures(self) -> Path:
        """The folder of the raw pictures: of a zip file it is below the versions."""
        return self.root / "unzipped" / self.source.stem if is_zip(self.source) else self.source

    @property
    def steps(self) -> tuple[VersionStep, ...]:
        return (step_of(self.pictures, self.settings), *((self.captions.step(),) if self.captions else ()))

    def _is_current(self, folder: Path) -> bool:
        """Whether nothing changed in the pictures, nor the zip file that they are of."""
        if self.pictures != self.source:
            known, stamp = manifest.read(self.pictures), manifest.source_stamp(self.source)
            if known is None or not all(one.stamp.startswith(f"{stamp} ") for one in known.pictures):
                return False
        return is_current(self.pictures, folder, self.settings)

    def current(self) -> Path | None:
        """The newest version that is as recipe and pictures are now; where the pictures are gone, the last one."""
        there = self.source.exists()
        for folder in reversed(manifest.versions(self.root)):
            known = manifest.read(folder)
            if known is None or known.steps != self.steps:
                continue
            texts = ((folder / one.file).with_suffix(".txt") for one in known.pictures if self.captions)
            if all(map(os.path.isfile, texts)) and (not there or self._is_current(folder)):
                return folder
        return None

    def make(self, progress: Progress | None, captioner: Captioners) -> tuple[Finding, ...]:
        """A new version, of what the last one has and what changed; or the one that a cut run began."""
        made_by = captioner(self.captions) if self.captions else None  # what it cannot follow is told first
        unzipped = self._unzipped(progress) if self.pictures != self.source else ()
        folder = self._folder()

        def show(done: int, total: int) -> None:
            if progress is not None:
                progress(f"preparing {self.source.name}", done, total)

        found = (*unzipped, *prepare(self.pictures, folder, self.settings, progress=show).findings)
        if self.captions is None or made_by is None:
            return found
        from kohya_runner.dataset.captioning.caption_dataset import caption_dataset

        step = self.captions.step()
        done = caption_dataset(self.captions, folder, made_by, target=folder, step=step)
        return (*found, *done.findings)

    def _unzipped(self, progress: Progress | None) -> tuple[Finding, ...]:
        from kohya_runner.dataset.importing.new_version import ImportRequest, import_dataset

        request = ImportRequest((self.source,), self.root, output=self.pictures, flat=True)
        told = import_dataset(request, progress).findings
        return tuple(one for one in told if one.code != "dataset.strays")

    def _folder(self) -> Path:
        """The last version where it is not finished (no manifest yet, captions are missing); else a new one."""
        last = next(iter(manifest.versions(self.root)[-1:]), None)
        known = manifest.read(last) if last else None
        cut = known is not None and known.steps in (self.steps[:1], self.steps) and self.captions is not None
        if last and (known is None or (cut and self._is_current(last))):
            return last
        folder = manifest.next_version(self.root)
        if last and (last / ANSWERS).is_file():
            shutil.copy2(last / ANSWERS, folder / ANSWERS)  # will be written to
        if last and known is not None and self.steps[0] in known.steps:
            for path in last.iterdir():
                if not path.name.startswith(".") and path.name != ANSWERS:
                    os.link(path, folder / path.name)  # replaced where it changes, never written to
        return folder


def is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and not path.is_dir()


def wanted_version(loaded: Loaded, index: int, workspace: Workspace) -> WantedVersion | None:
    """Of one entry; None where it is trained on as it is."""
    entry = loaded.datasets[index]
    if (entry.prepare is None and entry.caption is None) or not entry.images:
        return None
    own = entry.prepare or Prepare()

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
    style = own.style if entry.prepare else "as_is"
    settings = PrepareSettings(buckets, style, own.background, own.format, own.crop, own.keep_near)
    where = str(loaded.place("datasets", index, "prepare" if entry.prepare else "caption"))
    if entry.caption is None:
        return WantedVersion(source, root, settings, where)
    from kohya_runner.dataset.captioning.caption_text import CaptionSettings

    given = {name: value for name, value in entry.caption.model_dump().items() if value is not None}
    return WantedVersion(source, root, settings, where, CaptionSettings(**given))


def version_or_finding(loaded: Loaded, index: int, workspace: Workspace) -> Path | Finding | None:
    """The folder to train on, what stands against it, or None for an entry with neither ``prepare`` nor ``caption``."""
    wanted = wanted_version(loaded, index, workspace)
    entry = loaded.datasets[index]
    if wanted is None:
        return None
    key = "prepare" if entry.prepare else "caption"
    if is_rows_file(wanted.source) or entry.conditioning is not None:
        text = f"datasets.{index}.{key}: is for a folder of pictures, without conditioning and metadata files"
        return error("recipe.value", text, where=wanted.where, hint=f"take {key} out of this entry")
    extension = entry.captions.extension or loaded.args.get("caption_extension") or ".txt"
    if entry.caption is not None and extension != ".txt":
        text = f"datasets.{index}.caption: writes .txt captions, and the trainer looks for {extension}"
        return error("recipe.value", text, where=wanted.where, hint="write args.caption_extension: .txt")
    found = _caption_fault(wanted, f"datasets.{index}.caption") or wanted.current()
    if found is not None:
        return found
    if not (wanted.source.is_file() if is_zip(wanted.source) else wanted.source.is_dir()):
        return error("dataset.missing", f"{wanted.source}: there is no such folder or zip file", where=wanted.where)
    what = "prepared" if entry.prepare else "captioned"
    text = f"{wanted.source} will be {what} into {wanted.root} first: its images and steps are not known until then"
    first = f"; to see the result first, run: kohya-runner dataset {key} FOLDER --output DIR"
    hint = f"launch does it{first if wanted.source.is_dir() else ''}"
    return info("dataset.unprepared", text, where=wanted.where, hint=hint)


def _caption_fault(wanted: WantedVersion, key: str) -> Finding | None:
    """What stands against the caption settings themselves, under the recipe's names."""
    try:
        if wanted.captions is not None:
            wanted.captions.checked("")
    except UsageError as fault:
        hint = re.sub(r"add --(\w+) ", rf"write {key}.\1: ", fault.hint or "")
        return error("recipe.value", f"{key}: {fault}".replace(": --", "."), where=wanted.where, hint=hint)
    return None


def make_versions(
    loaded: Loaded, workspace: Workspace, progress: Progress | None, captioner: Captioners
) -> Iterator[Finding]:
    """Make whatever is missing, and say what was found in it.

    Raises:
        UsageError, RunExistsError, PreflightError: it cannot be made.
        DatasetError: a picture got no caption.
    """
    for index in loaded.datasets:
        wanted = wanted_version(loaded, index, workspace)
        if wanted is not None and wanted.current() is None:
            found = wanted.make(progress, captioner)
            yield from found
            if any(finding.severity is Severity.ERROR for finding in found):
                hint = "launch again: only these are asked for again; or write the captions yourself"
                raise DatasetError(f"{wanted.source}: captions are missing", hint=hint, findings=found)
            if wanted.current() is None:
                raise UsageError(f"{wanted.source} changes while it is prepared", hint="launch again")
