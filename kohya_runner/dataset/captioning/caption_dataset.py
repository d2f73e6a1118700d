"""Captions for every picture of a version: who makes them, which are a person's and stay, and how far a cut run got."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.captioning.caption_text import CaptionJob, Failure, one_line, read_template, with_trigger
from kohya_runner.dataset.captions import listed, read_caption
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import DatasetVersion, Journal, MadePicture, SetAside, VersionStep, digest
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import copy_file, is_inside, write_bytes

if TYPE_CHECKING:
    from kohya_runner.dataset.captioning.caption_text import CaptionSettings

Captioner = Callable[[Sequence[CaptionJob], Path], Iterator[tuple[CaptionJob, str | Failure]]]


@dataclass(frozen=True, slots=True)
class Captioned:
    """What was done: new captions, those that were there from this very step, and files whose own caption stayed."""

    folder: Path
    written: int = 0
    known: int = 0
    kept: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def by_template(text: str) -> Captioner:
    template = read_template(text)

    return lambda wanted, _folder: ((one, template.of(one)) for one in wanted)


def new_captions(folder: Path, step: VersionStep, *, output: Path | None, prepared: Path) -> Path:
    """A version with the pictures of a folder, to be captioned; the same one where a run of the same was cut.

    Raises:
        DatasetError: the folder has no pictures.
        UsageError, PreflightError, RunExistsError: see ``manifest``.
    """
    names = pictures(folder)
    target = place(folder, step, output=output, prepared=prepared)
    with manifest.writing(target, step) as journal:
        carry(folder, target, journal, names, {})
    return target


def place(folder: Path, step: VersionStep, *, output: Path | None, prepared: Path) -> Path:
    """Where the new version of a folder goes; see ``manifest.place``."""
    root = folder.parent if is_inside(folder, (prepared,)) else prepared / folder.name
    return manifest.place(root, step, output, (folder,) if output else ())


def finish(target: Path, journal: Journal, step: VersionStep, folder: Path) -> None:
    """Write the manifest: the steps of the folder that it was made from, and this one."""
    before = manifest.read(folder) or DatasetVersion()
    pictures = sorted(journal.pictures.values(), key=lambda one: one.file)
    aside = tuple(journal.set_aside.values()) or before.set_aside
    manifest.write(target, replace(before, pictures=tuple(pictures), set_aside=aside).with_step(step))


def carry(  # noqa: C901
    folder: Path, target: Path, journal: Journal, names: Sequence[str], without: Mapping[str, str]
) -> None:
    """Put these pictures into the version, those ``without`` a place in it (name and why) left out.

    A picture of another version is linked, one of somebody else copied: what is changed there later must not change it.

    Raises:
        DatasetError: a link leads farther than a dataset may.
    """
    known = manifest.read(folder)
    before = {one.file: one for one in known.pictures} if known else {}
    for gone in known.set_aside if known else ():
        journal.add(replace(gone, source=os.path.join(folder, gone.source)))  # noqa: PTH118
    source, findings, todo = Source(folder, ""), [], []
    for name in names:
        path = folder / name
        made = before.get(name, MadePicture(name, str(path), manifest.source_stamp(path), what=()))
        made = replace(made, source=os.path.normpath(os.path.join(folder, made.source)))  # noqa: PTH118
        if name in without:
            journal.add(SetAside(made.source, without[name], made.stamp, made.sha256))
        elif why := source.refuses(path):
            findings.append(error("caption.failed", f"{name} {why}", where=str(path)))
        elif made.source not in journal.pictures or manifest.source_stamp(target / name) != manifest.source_stamp(path):
            todo.append((path, made))
    if findings:
        raise DatasetError(f"{folder} cannot be copied as it is", findings=findings)
    kept = {*names} - {*without}
    old = [one for one in (*journal.outdated, *journal.pictures.values()) if one.file not in kept]
    for name in (*(one.file for one in old), *(one.file for _, one in todo)):
        (target / name).with_suffix(".txt").unlink(missing_ok=True)  # the caption of another step or picture
    manifest.need_space(target, sum(path.stat().st_size for path, _ in todo) if known is None else 0)
    for path, made in todo:
        for name in (made.file, *made.sidecars):
            copy_file(folder / name, target / name, link=known is not None)
        journal.add(replace(made, bytes=path.stat().st_size))
    for left in old:
        (target / left.file).unlink(missing_ok=True)
        if left.source not in journal.set_aside:
            journal.add(SetAside(left.source, "is no longer there"))


def pictures(folder: Path) -> tuple[str, ...]:
    """The names of the pictures in a folder. Raises ``UsageError`` or ``DatasetError`` where there are none."""
    try:
        found = listed(folder, ".txt")
    except OSError as fault:
        raise UsageError(f"{folder}: {fault.strerror or fault}") from None
    if not found.images:
        below = f"name one of its folders: {folder / found.folders[0]}" if found.folders else ""
        hint = below or f"other formats are converted by: kohya-runner dataset prepare {folder}"
        raise DatasetError(f"{folder}: no picture that the trainer reads", hint=hint)
    return found.images


def caption_dataset(
    settings: CaptionSettings, folder: Path, captioner: Captioner, *, target: Path, step: VersionStep
) -> Captioned:
    """Write the captions of a version that has its pictures already; ``folder`` is what it was made from, or itself.

    A caption that no step wrote is a person's: it stays unless ``settings.overwrite``.

    Raises:
        PreflightError: the captioner cannot go on. What it made is kept for the next run.
    """
    with manifest.writing(target, step) as journal:
        found = _Work(settings, (folder, target), step, journal).done(captioner)
        finish(target, journal, step, folder)
    return found


class _Work:
    def __init__(
        self, settings: CaptionSettings, folders: tuple[Path, Path], step: VersionStep, journal: Journal
    ) -> None:
        self.settings, self.journal = settings, journal
        folder, target = self.folder, self.target = folders
        before = manifest.read(folder) or DatasetVersion()
        here = (*(journal.outdated if folder == target else ()), *journal.pictures.values())
        old = here if folder == target else before.pictures
        ours = (folder == target and journal.again) or any(one.verb == step.verb for one in before.steps)
        self.ours = {one.file: one.caption_sha256 for one in old} if ours else {}  # else prepare or import copied them
        self.made = {one.file: one for one in here}

    def done(self, captioner: Captioner) -> Captioned:
        kept, todo = [], []
        for made in sorted(self.made.values(), key=lambda one: one.file):
            written, given = digest(self._text_of(made)), digest(self._origin(made))
            changed = made.caption_sha256 and written not in ("", made.caption_sha256)  # in the version, by a person
            by_hand = given not in ("", self.ours.get(made.file))
            if changed and not self.settings.overwrite:
                kept.append(made.file)
            elif by_hand and not self.settings.overwrite:
                kept.append(made.file)
                self._copy(made)
                self.journal.add(replace(made, caption_sha256=""))
            elif made.source not in self.journal.pictures or written != made.caption_sha256 or not written:
                todo.append(made)
        folders = {one.file: one.source.rsplit("/", 2)[-2] if "/" in one.source else "" for one in todo}
        before = {one.file: read_caption(self._origin(one)).text for one in todo}
        jobs = tuple(CaptionJob(self.target / name, folder, before[name]) for name, folder in folders.items())
        findings = [self._result(one, text) for one, text in (captioner(jobs, self.target) if todo else ())]
        faults = tuple(found for found in findings if found is not None)
        known = len(self.made) - len(kept) - len(todo)
        return Captioned(self.target, len(todo) - len(faults), known, tuple(kept), faults)

    def _text_of(self, made: MadePicture) -> Path:
        return (self.target / made.file).with_suffix(".txt")

    def _origin(self, made: MadePicture) -> Path:
        return (self.folder / made.file).with_suffix(".txt")

    def _copy(self, made: MadePicture) -> None:
        origin, text = self._origin(made), self._text_of(made)
        if digest(origin) not in ("", digest(text)):
            write_bytes(text, origin.read_bytes())

    def _result(self, one: CaptionJob, text: str | Failure) -> Finding | None:
        """Write the caption; a finding where there is none, and what was there stays."""
        made = self.made[one.path.relative_to(self.target).as_posix()]
        line = "" if isinstance(text, Failure) else with_trigger(one_line(text), self.settings.trigger)
        if not line:
            self._copy(made)
            self.journal.add(made)
            why = text.why if isinstance(text, Failure) else "the caption is empty"
            return error("caption.failed", f"{made.file}: {why}", where=str(one.path))
        data = f"{line}\n".encode()
        self.journal.add(replace(made, caption_sha256=hashlib.sha256(data).hexdigest()))
        write_bytes(self._text_of(made), data)
        return None
