"""A folder of pictures made into a version that trains: what changed is done again, the folder is never touched."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path

from kohya_runner.dataset import picture_checks
from kohya_runner.dataset.captions import is_image
from kohya_runner.dataset.facts import Image, Source
from kohya_runner.dataset.picture import Traits, signature
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import (
    DatasetVersion,
    Journal,
    MadePicture,
    SetAside,
    VersionStep,
    source_stamp,
)  # fmt: skip
from kohya_runner.dataset.prepare.reading import PictureError, Raw, raw_pictures, read_bytes, read_plain
from kohya_runner.dataset.prepare.shaping import PrepareSettings, shaped, version_findings
from kohya_runner.dataset.survey import cores
from kohya_runner.dataset.trainer_view import TrainerView
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.findings import Finding
from kohya_runner.safe_files import copy_file, write_bytes

Progress = Callable[[int, int], None]

VERB = "prepare"
SUFFIX = {"png": ".png", "jpeg": ".jpg"}
AHEAD = 32
SPARE = 64 << 20
_VERBATIM = {"png": ("PNG",), "jpeg": ("JPEG", "MPO")}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished version: what is in it, and how many of its pictures were made this time."""

    folder: Path
    version: DatasetVersion
    made: int
    findings: tuple[Finding, ...]


def _suffix(settings: PrepareSettings) -> str:
    return "" if settings.style == "as_is" else SUFFIX[settings.format]


def step_of(source: Path, settings: PrepareSettings) -> VersionStep:
    return VersionStep(VERB, asdict(settings) | {"source": str(source)})


def prepare(source: Path, folder: Path, settings: PrepareSettings, *, progress: Progress | None = None) -> Prepared:
    """Make or bring up to date the version in ``folder``.

    Raises:
        UsageError: the source is no folder, or ``folder`` holds something else.
        DatasetError: the source has no pictures, and there is no version of it yet.
        RunExistsError: another process writes it.
        PreflightError: the disk cannot hold it.
    """
    if not source.is_dir():
        packed = f"unpack it first: kohya-runner dataset import {source} --output DIR" if source.is_file() else ""
        hint = packed or "name the folder that holds the pictures"
        raise UsageError(f"{source}: there is no such folder", hint=hint)
    manifest.usable(folder, (source,))
    raws, findings = raw_pictures(source, _suffix(settings))
    now = manifest.read(folder)
    if now is None and not raws:
        raise DatasetError(f"{source}: no pictures", hint="name the folder that holds the pictures", findings=findings)
    if now is not None and _is_current(now, raws, folder, step_of(source, settings)):
        return Prepared(folder, now, 0, (*findings, *version_findings(now)))
    with manifest.writing(folder, step_of(source, settings)) as journal:
        made = _made_all(raws, folder, settings, journal, progress)
        if settings.style != "as_is":
            _without_copies(raws, folder, journal, near=settings.style == "photos" and not settings.keep_near)
        version = _finished(raws, source, folder, settings, journal)
        manifest.write(folder, version)
    return Prepared(folder, version, made, (*findings, *version_findings(version)))


def is_current(source: Path, folder: Path, settings: PrepareSettings) -> bool:
    """Whether nothing is left to do, by the sizes and times of all files; nothing is read."""
    version = manifest.read(folder)
    if version is None or not source.is_dir():
        return False
    return _is_current(version, raw_pictures(source, _suffix(settings))[0], folder, step_of(source, settings))


def _is_current(version: DatasetVersion, raws: Sequence[Raw], folder: Path, step: VersionStep) -> bool:
    if step not in version.steps:
        return False
    pictures = {one.source: one for one in version.pictures}
    aside = {one.source: one for one in version.set_aside}
    known = all(_same(raw, pictures.get(str(raw.path)), folder) or _still(raw, aside, pictures) for raw in raws)
    return known and len(raws) == len(pictures) + len(aside)


def _same(raw: Raw, known: MadePicture | None, folder: Path) -> bool:
    """Whether the picture, and what goes with it, is there as its source is now."""
    if known is None or known.stamp != raw.state or not _there(raw, known, folder):
        return False
    return all(_stays(raw.path.with_name(name), folder / target, known) for name, target in raw.targets())


def _there(raw: Raw, known: MadePicture, folder: Path) -> bool:
    with suppress(OSError):
        return known.file == raw.name and (folder / known.file).stat().st_size == known.bytes
    return False


def _still(raw: Raw, aside: dict[str, SetAside], pictures: dict[str, MadePicture]) -> bool:
    """Whether a source is still no picture, or a copy of one that is there."""
    known = aside.get(str(raw.path))
    if known is None or known.stamp != raw.state or "pip install" in known.why:
        return False
    return not known.like or known.like in pictures


def _stays(source: Path, target: Path, known: MadePicture | None) -> bool:
    """Whether a file beside a picture is not copied: it is as it was, or a person, not a verb, has changed the copy."""
    last = known.sidecars.get(target.name, "") if known else ""
    now = source_stamp(target)
    if not now or source_stamp(source) == last:
        return bool(now)
    caption = known.caption_sha256 if known and target.suffix == ".txt" else ""
    return now != last and (not caption or manifest.digest(target) != caption)


def _made_all(
    raws: Sequence[Raw], folder: Path, settings: PrepareSettings, journal: Journal, progress: Progress | None
) -> int:
    """Every picture that is not there as it should be, on all cores; how many that were."""
    todo = [
        raw
        for raw in raws
        if not _same(raw, journal.pictures.get(str(raw.path)), folder)
        and not _still(raw, journal.set_aside, journal.pictures)
    ]
    width, height = settings.buckets.resolution
    each = width * height * (2 if settings.style == "photos" else 1) // (2 if settings.format == "jpeg" else 1)
    manifest.need_space(folder, len(todo) * each // (1 if settings.style == "photos" else 8) + SPARE if todo else 0)
    known = {one.source: replace(one, sha256="") for one in journal.outdated} | journal.pictures
    rest, waiting = iter(todo), deque[Future[MadePicture | SetAside]]()
    pool = ThreadPoolExecutor(cores() + 1, thread_name_prefix=VERB)
    try:
        while True:
            for raw in islice(rest, AHEAD - len(waiting)):
                waiting.append(pool.submit(_made_one, raw, folder, settings, known.get(str(raw.path))))
            if not waiting:
                return len(todo)
            journal.add(waiting.popleft().result())
            if progress is not None:
                progress(len(todo) - len(waiting), len(todo))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _made_one(raw: Raw, folder: Path, settings: PrepareSettings, known: MadePicture | None) -> MadePicture | SetAside:
    """One picture read, shaped and written, with what lies beside it; or why it is none."""
    state, digest = raw.state, ""
    try:
        data = read_bytes(raw.path, raw.refused)
        digest = hashlib.sha256(data).hexdigest()
        focused = known is None or known.stamp.split()[2:] != state.split()[2:]
        if known is None or known.sha256 != digest or focused or not _there(raw, known, folder):
            made = _written(raw, folder, settings, data)
            if known is not None:
                manifest.remove_caption(folder, known)
        else:
            made = known
    except PictureError as why:
        return SetAside(str(raw.path), str(why), state, digest)
    sidecars = {target: _beside(raw.path.with_name(name), folder / target, known) for name, target in raw.targets()}
    return replace(made, stamp=state, sha256=digest, sidecars=sidecars)


def _written(raw: Raw, folder: Path, settings: PrepareSettings, data: bytes) -> MadePicture:
    """The picture in its new form; the very same bytes where nothing is to be done."""
    picture, what, kind = read_plain(data, settings.background)
    if settings.style == "as_is":
        if not is_image(raw.name):
            raise PictureError("is in a format that the trainer does not read; `prepare: {}` converts it")
        write_bytes(folder / raw.name, data, flush=False)
        return MadePicture(raw.name, str(raw.path), bytes=len(data), size=picture.size)
    focus, odd = raw.focus()
    made, more = shaped(picture, settings, focus)
    what = (*what, *odd, *more)
    if what or kind not in _VERBATIM[settings.format]:
        buffer = BytesIO()
        if settings.format == "jpeg":
            made.save(buffer, "JPEG", quality=95, subsampling=0)
        else:
            made.save(buffer, "PNG", compress_level=1 if settings.style == "photos" else 6)
        data = buffer.getvalue()
    write_bytes(folder / raw.name, data, flush=False)
    near = signature(made).hex() if settings.style == "photos" else ""
    return MadePicture(raw.name, str(raw.path), bytes=len(data), what=what, size=made.size, signature=near)


def _beside(source: Path, target: Path, known: MadePicture | None) -> str:
    """Copy a file with its time; the stamp of the copy that was made, now or before."""
    if not _stays(source, target, known) and not Source(source.parent, "").refuses(source):
        copy_file(source, target)
        return source_stamp(target)
    return known.sidecars.get(target.name, "") if known else ""


def _without_copies(raws: Sequence[Raw], folder: Path, journal: Journal, *, near: bool) -> None:
    """Set aside all but the first of what is the same, or looks the same."""
    views = []
    for raw in raws:
        one = journal.pictures.get(str(raw.path))
        if one is not None:
            image = Image(raw.path, *one.size, one.bytes, one.sha256)
            traits = Traits(signature=bytes.fromhex(one.signature))
            views.append(TrainerView(image, traits, Source(folder, ""), "", True))
    groups = [("is the same file as", group) for group in picture_checks.exact(views)]
    groups += [("looks the same as", group) for group in (picture_checks.near(views) if near else ())]
    for why, (first, *others) in groups:
        for other in (one for one in others if str(one.image.path) in journal.pictures):
            one, kept = journal.pictures[str(other.image.path)], first.image.path
            journal.add(SetAside(one.source, f"{why} {kept.name}", one.stamp, one.sha256, str(kept)))
            journal.outdated.append(one)


def _finished(
    raws: Sequence[Raw], source: Path, folder: Path, settings: PrepareSettings, journal: Journal
) -> DatasetVersion:
    """The version as it is now; files that the last one had and this one has not are removed."""
    present = {str(raw.path) for raw in raws}
    pictures = sorted((one for one in journal.pictures.values() if one.source in present), key=lambda one: one.file)
    kept = {name for one in pictures for name in (one.file, *one.sidecars)}
    for old in (*journal.outdated, *(one for one in journal.pictures.values() if one.source not in present)):
        manifest.remove(folder, old, kept)
    aside = sorted((one for one in journal.set_aside.values() if one.source in present), key=lambda one: one.source)
    last = manifest.read(folder) or DatasetVersion()
    new = replace(last, pictures=tuple(pictures), set_aside=tuple(aside))
    step = step_of(source, settings)
    return new if new == last and step in last.steps else new.with_step(step)
