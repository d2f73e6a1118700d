"""A new version of a folder of pictures: where it goes, and the pictures in it. The folder itself is never touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import (
    DatasetVersion,
    Journal,
    MadePicture,
    SetAside,
    VersionStep,
    source_stamp,
)
from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import is_inside, read_json, write_json

BEGUN = ".begun.json"
"""What is being made here: only the same is continued."""
ANSWERS = "answers.jsonl"
"""What models answered, with what they were asked."""


def place(folder: Path, step: VersionStep, *, output: Path | None, prepared: Path) -> Path:
    """The folder of the version: the one that is named, the last one where the same was cut, or a new one.

    Raises:
        UsageError: the named one cannot be used.
    """
    begun = _begun(step)
    if output is None:
        root = folder.parent if is_inside(folder, (prepared,)) else prepared / folder.name
        last = manifest.versions(root)
        target = last[-1] if last and _goes_on(last[-1], begun) else manifest.next_version(root)
        if last and target != last[-1] and (last[-1] / ANSWERS).is_file():
            shutil.copy2(last[-1] / ANSWERS, target / ANSWERS)  # what was paid for once
    else:
        manifest.usable(target := output, (folder,))
    begin(target, step)
    return target


def begin(target: Path, step: VersionStep) -> bool:
    """Note what is made here; whether the same verb was begun, and cut."""
    before = read_json(target / BEGUN).get("verb") == step.verb
    write_json(target / BEGUN, _begun(step))
    return before


def _begun(step: VersionStep) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps({"verb": step.verb, "settings": dict(step.settings)}))
    return found


def _goes_on(target: Path, begun: Mapping[str, object]) -> bool:
    """Whether the same was begun here, or done: then only what is missing or changed is done."""
    known = manifest.read(target)
    if known is None:
        return read_json(target / BEGUN) == begun
    return [(one.verb, one.settings) for one in known.steps[-1:]] == [(begun["verb"], begun["settings"])]


def finish(target: Path, journal: Journal, step: VersionStep, folder: Path) -> None:
    """Write the manifest: the steps of the folder that it was made from, and this one."""
    journal.close()
    before = manifest.read(folder) or DatasetVersion()
    pictures = sorted(journal.pictures.values(), key=lambda one: one.file)
    made = replace(before, pictures=tuple(pictures), set_aside=tuple(journal.set_aside.values()))
    manifest.write(target, made.with_step(step))
    (target / BEGUN).unlink(missing_ok=True)


def carry(
    folder: Path, target: Path, journal: Journal, names: Sequence[str], without: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Put these pictures into the version, those ``without`` a place in it (name and why) left out; links are followed
    as far as a dataset may.

    A picture of another version is linked, one of somebody else copied: what is changed there later must not change it.
    """  # noqa: D205
    known = manifest.read(folder)
    before = {one.file: one for one in known.pictures} if known else {}
    for gone in known.set_aside if known else ():
        journal.add(replace(gone, source=os.path.join(folder, gone.source)))  # noqa: PTH118
    source, findings, todo = Source(folder, ""), [], []
    for name in names:
        path = folder / name
        made = before.get(name, MadePicture(name, str(path), source_stamp(path), what=()))
        made = replace(made, source=os.path.normpath(os.path.join(folder, made.source)))  # noqa: PTH118
        if name in without:
            journal.add(SetAside(made.source, without[name], made.stamp, made.sha256))
        elif why := source.refuses(path):
            findings.append(error("caption.failed", f"{name} {why}", where=str(path)))
        elif made.source not in journal.pictures or source_stamp(target / name) != source_stamp(path):
            todo.append((path, made))
    manifest.need_space(target, sum(path.stat().st_size for path, _ in todo) if known is None else 0)
    for path, made in todo:
        for name in (made.file, *made.sidecars):
            _put(folder / name, target / name, link=known is not None)
        journal.add(replace(made, bytes=path.stat().st_size))
    kept = {*names} - {*without}
    for old in [one for one in journal.pictures.values() if one.file not in kept]:
        journal.add(SetAside(old.source, "is no longer there"))
        for left in (target / old.file, (target / old.file).with_suffix(".txt")):
            left.unlink(missing_ok=True)
    return tuple(findings)


def _put(path: Path, target: Path, *, link: bool) -> None:
    """The file under its name in one step."""
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        (os.link if link else shutil.copy2)(path, partial)
    except OSError:  # another disk, or one without links
        shutil.copy2(path, partial)
    partial.replace(target)
