"""Captions edited in bulk: what changes is known before anything is written, and each edit is a version of its own."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kohya_runner.dataset.caption_checks import PATTERN_SECONDS, TooSlowError, at_most, regex_problem
from kohya_runner.dataset.caption_rows import CAPTION, read_rows
from kohya_runner.dataset.captioning.caption_dataset import carry, finish, pictures, place
from kohya_runner.dataset.captioning.caption_text import with_trigger
from kohya_runner.dataset.captions import BOM, SUFFIXES, stem
from kohya_runner.dataset.facts import CAPTION_ENCODING
from kohya_runner.dataset.metadata_rows import PICTURE
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import VersionStep
from kohya_runner.dataset.prepare.review import SHOWN, read_review
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import open_file, write_bytes, write_text
from kohya_runner.text import did_you_mean, shortened

ROWS_FILES = ("metadata.jsonl", "metadata.json")


@dataclass(frozen=True, slots=True)
class CaptionEdit:
    """Changes of every line of every caption, in the order of these fields."""

    replace: tuple[tuple[str, str], ...] = ()
    replace_regex: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()  # tags
    dedupe: bool = False
    sort: bool = False
    order: tuple[str, ...] = ()  # tags that come first
    prefix: str = ""
    suffix: str = ""
    trigger: str = ""

    def of(self, caption: str) -> str:
        """The caption after all changes; the lines stay lines."""
        return "\n".join(self._line(line) if line.strip() else line for line in caption.split("\n"))

    def _line(self, line: str) -> str:
        for old, new in self.replace:
            line = line.replace(old, new)
        for pattern, new in self.replace_regex:
            line = re.sub(pattern, new, line)
        line = " ".join(line.split("\n"))
        if self.remove or self.dedupe or self.sort or self.order:
            tags = [tag for part in line.split(",") if (tag := part.strip()) and tag not in self.remove]
            tags = list(dict.fromkeys(tags)) if self.dedupe else tags
            tags = sorted(tags, key=str.lower) if self.sort else tags
            first = [tag for wanted in self.order for tag in tags if tag == wanted]
            line = ", ".join([*first, *(tag for tag in tags if tag not in self.order)])
        line = line if line.startswith(self.prefix) else self.prefix + line
        line = line if line.endswith(self.suffix) else line + self.suffix
        return with_trigger(line, self.trigger)


@dataclass(frozen=True, slots=True)
class CaptionsRead:
    """The captions of a folder by the picture's name; ``rows`` is the metadata file where they stand in one."""

    folder: Path
    rows: Path | None
    texts: Mapping[str, str]
    names: tuple[str, ...]  # of all pictures


@dataclass(frozen=True, slots=True)
class CaptionChange:
    """One caption before and after."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What an edit will do: nothing is written yet."""

    read: CaptionsRead
    step: VersionStep
    changes: tuple[CaptionChange, ...]
    rejected: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()  # captions that are left as they are


def read_captions(target: Path) -> CaptionsRead:
    """The captions beside the pictures, or in a metadata file that is named, or that the folder has instead.

    Raises:
        UsageError, DatasetError: there are none, or one cannot be read; all of them are told.
    """
    rows = next((target / name for name in ROWS_FILES if (target / name).is_file()), None)
    if target.suffix in SUFFIXES and target.is_file():
        return _of_rows(target)
    if rows is not None and not any(target.glob("*.txt")):
        return _of_rows(rows)
    texts, faults = {}, []
    for name in (names := pictures(target)):
        path = target / f"{stem(name)}.txt"
        try:
            if os.path.lexists(path):
                with open_file(path) as file:
                    texts[name] = file.read().decode().replace("\r\n", "\n").lstrip(BOM).rstrip("\n")
        except UnicodeDecodeError:
            faults.append(error("caption.encoding", CAPTION_ENCODING, where=str(path), hint="save as UTF-8"))
        except OSError as fault:
            faults.append(error("caption.unreadable", fault.strerror or str(fault), where=str(path)))
    return _unless(faults, CaptionsRead(target, None, texts, names))


def _of_rows(path: Path) -> CaptionsRead:
    found = read_rows(path)
    if found.edits:
        raise UsageError(f"{path} is of an edit dataset", hint="its instructions are edited by hand")
    texts = {row.name: row.caption for row in found.rows if row.caption is not None}
    return _unless([*found.findings()], CaptionsRead(path.parent, path, texts, tuple(r.name for r in found.rows)))


def _unless(faults: Sequence[Finding], read: CaptionsRead) -> CaptionsRead:
    if faults:
        raise DatasetError(f"{read.folder}: captions that cannot be read", findings=faults)
    return read


def planned(target: Path, edit: CaptionEdit) -> EditPlan:
    """What an edit changes.

    Raises:
        UsageError: a pattern is wrong or too slow, or nothing is asked for.
    """
    if edit == CaptionEdit():
        raise UsageError("nothing to change", hint="such as --prefix 'pixel art, ' or --remove blurry")
    for pattern, new in edit.replace_regex:
        problem = regex_problem(pattern)
        try:
            re.compile(pattern).sub(new, "") if problem is None else None
        except (re.error, IndexError) as fault:
            problem = f"has a replacement that is wrong: {fault}"
        if problem:
            raise UsageError(f"--replace-regex {shortened(pattern)} {problem}")
    try:
        with at_most(PATTERN_SECONDS):
            return _plan(target, asdict(edit), lambda _name, text: edit.of(text))
    except TooSlowError:
        text = f"--replace-regex takes more than {PATTERN_SECONDS:.0f} s on {target}"
        raise UsageError(text, hint="write a simpler pattern, without a repeat inside a repeat") from None


def _plan(
    target: Path, said: Mapping[str, Any], new: Callable[[str, str], str], rejected: tuple[str, ...] = ()
) -> EditPlan:
    read = read_captions(target)
    after = {name: new(name, read.texts.get(name, "")) for name in read.names}
    pairs = [CaptionChange(name, read.texts.get(name, ""), after[name]) for name in after if name not in rejected]
    changed = [one for one in pairs if one.before != one.after]
    emptied = [one for one in changed if not one.after.strip()]
    findings = [error("caption.failed", f"{one.file}: nothing would be left of its caption; it stays as it is",
                      where=str(read.folder / one.file)) for one in emptied]  # fmt: skip
    step = VersionStep("edit", {**{k: v for k, v in said.items() if v}, "from": str(target)})
    return EditPlan(read, step, tuple(one for one in changed if one not in emptied), rejected, tuple(findings))


def reviewed(file: Path, target: Path | None) -> EditPlan:
    """What a review file says: captions, and pictures that are rejected.

    Raises:
        UsageError: it is no such file, or names pictures that are not there.
    """
    review = read_review(file)
    folder = target or Path(review.folder)
    if folder.resolve() != Path(review.folder).resolve():
        hint = f"kohya-runner dataset edit {review.folder} --from {file}"
        raise UsageError(f"--from {file} is about {review.folder}", hint=hint)
    by_stem = {stem(name): name for name in read_captions(folder).names}
    unknown = [name for name in (*review.reject, *review.captions) if name not in by_stem]
    if unknown:
        text = f"--from {file} names {', '.join(map(shortened, unknown[:SHOWN]))}, which {folder} does not have"
        raise UsageError(text, hint=did_you_mean(unknown[0], by_stem))
    told = {by_stem[name]: text for name, text in review.captions.items() if text}
    gone = tuple(by_stem[name] for name in review.reject)
    return _plan(folder, {"reject": gone, "captions": told}, told.get, gone)


def undone(target: Path) -> EditPlan:
    """The version before the last step, as a new one.

    Raises:
        UsageError: there is none.
    """
    before = _before(target)
    if before is None or not before.exists():
        gone = f": {before} is gone" if before else ", for it is no version that caption or edit made"
        raise UsageError(f"{target}: nothing to undo{gone}")
    now, old = read_captions(target), read_captions(before)
    changes = (CaptionChange(name, now.texts.get(name, ""), old.texts.get(name, "")) for name in old.names)
    step = VersionStep("edit", {"undone": str(target), "from": str(_before(before) or "")})
    return EditPlan(old, step, tuple(one for one in changes if one.before != one.after))


def _before(target: Path) -> Path | None:
    """What a version was made from."""
    version = manifest.read(target.parent if target.is_file() else target)
    named = [step.settings.get("from") for step in version.steps] if version else []
    return Path(str(named[-1])) if named and named[-1] else None


def apply(plan: EditPlan, *, output: Path | None, prepared: Path) -> Path:
    """Make the version: the pictures as they are, the captions as planned. An undo writes what was there before."""
    read, undo = plan.read, "undone" in plan.step.settings
    target = place(read.folder, plan.step, output=output, prepared=prepared)
    new = {} if undo else {one.file: one.after for one in plan.changes}
    with manifest.writing(target, plan.step) as journal:
        without = dict.fromkeys(plan.rejected, "rejected in a review")
        carry(read.folder, target, journal, read.names, without)
        if read.rows is not None:
            write_text(target / read.rows.name, _rows_with(read.rows, new, without))
        else:
            for name in (name for name in read.texts if name not in without):
                text = read.folder / f"{stem(name)}.txt"
                data = f"{new[name]}\n".encode() if name in new else text.read_bytes()
                write_bytes(target / text.name, data)
            for name in new.keys() - read.texts.keys():
                write_text(target / f"{stem(name)}.txt", f"{new[name]}\n")
        finish(target, journal, plan.step, read.folder)
    return target


def _rows_with(path: Path, new: Mapping[str, str], without: Mapping[str, str]) -> str:
    """The metadata file with these captions; a line of JSON lines that does not change stays as it is."""
    text, lines = path.read_text(encoding="utf-8-sig"), path.suffix.lower() == ".jsonl"
    written = [line for line in text.split("\n") if line.strip()] if lines else [""] * len(json.loads(text))
    found: list[Any] = []
    for line, row in zip(written, map(json.loads, written) if lines else json.loads(text), strict=True):
        name = posixpath.normpath(next(row[key] for key in PICTURE if row.get(key) is not None).replace("\\", "/"))
        if name in new:
            row[next((key for key in CAPTION if row.get(key) is not None), CAPTION[0])] = new[name]
        changed = json.dumps(row, ensure_ascii=False) if name in new else line
        if name not in without:
            found.append(changed if lines else row)
    return "\n".join(found) + "\n" if lines else json.dumps(found, indent=2, ensure_ascii=False) + "\n"
