"""Write what sources hold as a version of a dataset: copies with captions beside them, and the entries of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kohya_runner.dataset import captions
from kohya_runner.dataset.caption_rows import CaptionRows
from kohya_runner.dataset.facts import ENTRIES
from kohya_runner.dataset.importing.layouts import ENDINGS, ImportItem, read_layout
from kohya_runner.dataset.importing.source_files import SourceFiles, UnreadableError, ZipFiles, open_source
from kohya_runner.dataset.layout import concept_problem
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import DatasetVersion, Journal, MadePicture, SetAside, VersionStep
from kohya_runner.errors import DatasetError
from kohya_runner.findings import Finding, error, info, warning
from kohya_runner.safe_files import status, write_bytes, write_text
from kohya_runner.text import counted, names, repeats_and_token
from kohya_runner.yamlio import scalar

Progress = Callable[[str, int, int], None]
LONGEST = 180  # bytes of a name, with room for an ending and a number


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What the person asked for. ``images``: where the pictures of a metadata file are, if not beside it."""

    sources: tuple[Path, ...]
    prepared: Path
    name: str = ""
    output: Path | None = None
    images: Path | None = None
    split_by: str = ""
    merge: bool = False
    flat: bool = False  # one folder, whatever the folders of the sources are called

    @property
    def step(self) -> VersionStep:
        settings = {"sources": [str(path) for path in self.sources], "images": str(self.images or ""),
                    "split_by": self.split_by, "merge": self.merge}  # fmt: skip
        return VersionStep("import", settings)


@dataclass(frozen=True, slots=True)
class ImportedDataset:
    """A version that was written; ``entries`` is the YAML of a recipe's ``datasets``."""

    folder: Path
    pictures: tuple[MadePicture, ...]
    copied: int
    entries: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A picture of a source, and the name that it gets."""

    files: SourceFiles
    item: ImportItem
    file: str = ""

    @property
    def place(self) -> str:
        return self.files.place(self.item.name)

    @property
    def stamp(self) -> str:
        return self.files.stamp(self.item.name)


def import_dataset(request: ImportRequest, on_progress: Progress | None = None) -> ImportedDataset:
    """Copy the pictures and captions of all sources; what is there already from an earlier run is not copied again.

    Raises:
        UsageError: a source that is not there, an output that holds something else.
        DatasetError: there is no picture, or a zip file is not whole; its findings say more.
        RunExistsError: another process writes the version.
        PreflightError: the disk has no room.
    """
    wanted, findings, aside = list[_Wanted](), list[Finding](), list[SetAside]()
    for source in request.sources:
        listing = source if source.suffix.lower() in ENDINGS and source.is_file() else None
        files = SourceFiles(request.images or source.parent) if listing else open_source(source)
        layout = read_layout(files, listing, request.split_by)
        own = "" if request.merge or len(request.sources) == 1 else f"1_{source.stem}"
        wanted += [
            _Wanted(files, replace(one, folder="" if request.flat else one.folder or own)) for one in layout.items
        ]
        findings += CaptionRows(faults=tuple((fault.where, fault.what) for fault in layout.faults)).findings()
        if layout.others:
            others = [Path(name) for name in layout.others]
            text = f"{counted(len(others), 'file')} that are neither pictures nor captions: {names(others)}"
            findings.append(info("dataset.strays", text, where=str(files.path)))
        if listing is None:
            findings += _refused(files)
            aside += [SetAside(files.place(name), why) for name, why in files.refused.items()]
    wanted = _named(wanted, request.name)
    if not wanted:
        text = f"{', '.join(map(str, request.sources))}: no picture was found"
        raise DatasetError(text, hint="name a folder, zip file or metadata file with pictures", findings=findings)
    target = manifest.place(request.prepared / request.name, request.step, request.output, request.sources)
    with manifest.writing(target, request.step) as journal:
        made, unread, copied = _written(target, wanted, journal, on_progress)
        findings += [warning("dataset.set_aside", one.why, where=one.source) for one in unread]
        entries = "\n".join(_entries(target, made, request.name)) + "\n"
        write_text(target / ENTRIES, entries)
        manifest.write(target, DatasetVersion((request.step,), made, (*aside, *unread)))
    return ImportedDataset(target, made, copied, entries, tuple(findings))


def _refused(files: SourceFiles) -> Iterator[Finding]:
    """A finding for each reason; the manifest has each file."""
    for why in dict.fromkeys(files.refused.values()):
        paths = [Path(name) for name, said in files.refused.items() if said == why]
        text = f"{counted(len(paths), 'file')} not taken, each {why}: {names(paths)}"
        say = error if isinstance(files, ZipFiles) else warning
        yield say("dataset.archive" if say is error else "dataset.set_aside", text, where=str(files.path))


def _named(wanted: Sequence[_Wanted], name: str) -> list[_Wanted]:
    """Each with a stem of its own for its caption, short enough for a disk and without signs that nobody sees."""
    rest = f"1_{'pictures' if concept_problem(name) else name}" if any(one.item.folder for one in wanted) else ""
    used, last = set[str](), dict[str, int]()
    named = []
    for one in wanted:
        plain = "".join(c if c.isprintable() else "_" for c in PurePosixPath(one.item.name).stem).lstrip(".") or "_"
        path = PurePosixPath(one.item.folder or rest, plain.encode()[:LONGEST].decode("utf-8", "ignore"))
        key = str(path).casefold()
        while key in used:
            last[str(path)] = last.get(str(path), 1) + 1
            key = f"{path}_{last[str(path)]}".casefold()
        used.add(key)
        number = f"_{last[str(path)]}" if str(path) in last else ""
        named.append(replace(one, file=f"{path}{number}{PurePosixPath(one.item.name).suffix.lower()}"))
    return named


def _written(
    target: Path, wanted: Sequence[_Wanted], journal: Journal, on_progress: Progress | None
) -> tuple[tuple[MadePicture, ...], tuple[SetAside, ...], int]:
    """Every picture and its caption; how many pictures had to be copied."""
    before = {one.file: one for one in (*journal.outdated, *journal.pictures.values())}
    todo = [one for one in wanted if not _done(target, one, before.get(one.file))]
    manifest.need_space(target, sum(one.files.sizes[one.item.name] for one in todo))
    copies, made, aside = {one.file for one in todo}, list[MadePicture](), list[SetAside]()
    for number, one in enumerate(wanted, start=1):
        try:
            made.append(_made(target, one, before.get(one.file), copy=one.file in copies))
            if journal.pictures.get(one.place) != made[-1]:
                journal.add(made[-1])
        except UnreadableError as fault:
            aside.append(SetAside(one.place, str(fault), one.stamp))
        if on_progress is not None:
            on_progress("copying", number, len(wanted))
    for file in before.keys() - {one.file for one in made}:
        manifest.remove(target, before[file])
    return tuple(sorted(made, key=lambda one: one.file)), tuple(aside), len(copies) - len(aside)


def _done(target: Path, one: _Wanted, known: MadePicture | None) -> bool:
    if known is None or (known.source, known.stamp) != (one.place, one.stamp):
        return False
    found = status(target / one.file)
    return found is not None and found.st_size == known.bytes


def _made(target: Path, one: _Wanted, known: MadePicture | None, *, copy: bool) -> MadePicture:
    """Copy the picture where it is to be, and its caption unless a person changed it."""
    caption = _caption(target, one, known.caption_sha256 if known else "")
    if known is not None and not copy:
        return replace(known, caption_sha256=caption)
    data = one.files.read(one.item.name)
    write_bytes(target / one.file, data, flush=False)
    digest = hashlib.sha256(data).hexdigest()
    return MadePicture(one.file, one.place, one.stamp, digest, len(data), caption_sha256=caption)


def _caption(target: Path, one: _Wanted, known: str) -> str:
    """Write the caption where there is none, or ours of an earlier run: one that a person changed stays."""
    path = (target / one.file).with_suffix(".txt")
    text, beside = one.item.caption, one.item.beside
    data = text.encode() if text is not None else one.files.read(beside, captions.LARGEST) if beside else None
    there = path.read_bytes() if path.is_file() else None
    if there not in (None, data) and hashlib.sha256(there or b"").hexdigest() != known:
        return known
    if data is None:
        path.unlink(missing_ok=True)
    elif data != there:
        write_bytes(path, data, flush=False)
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def _entries(target: Path, made: Sequence[MadePicture], name: str) -> Iterator[str]:
    """The ``datasets`` of a recipe, an entry for each folder."""
    yield "datasets:"
    for folder in sorted({str(PurePosixPath(one.file).parent) for one in made}):
        repeats, token = repeats_and_token(PurePosixPath(folder).name)
        yield f"  - images: {scalar(str(target / folder))}"
        yield f"    concept: {scalar(token or name)}"
        if repeats and repeats > 1:
            yield f"    repeats: {repeats}"
        if folder.startswith("reg/"):
            yield "    regularization: true"
        if not any(one.caption_sha256 for one in made if str(PurePosixPath(one.file).parent) == folder):
            yield "    captions: {optional: true}"
