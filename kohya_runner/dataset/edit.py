"""An edit dataset, read: what is edited, the instruction, and what it becomes, row by row.

The pictures after the edit are read as any folder's are, with the instruction as caption, so that every check of
pictures and captions holds for them too; what they are made from stands beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kohya_runner.dataset.caption_checks import about
from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.facts import IMAGE_EXTENSIONS, Caption, CaptionRules, Image, Scan, Source
from kohya_runner.dataset.metadata_rows import INPUT, INSTRUCTION, OUTPUT, MetadataRow, MetadataRows, read_rows
from kohya_runner.dataset.picture import Picture
from kohya_runner.dataset.scan_cache import ScanCache
from kohya_runner.dataset.survey import Survey, pictures, survey
from kohya_runner.findings import Finding, error, warning
from kohya_runner.text import counted, names, printable

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class EditPair:
    """One row with its two pictures; None for one that the row does not name, or that is not there."""

    row: MetadataRow
    metadata: Path  # the file the row stands in
    instruction: str  # in one line, "" where there is none
    before: Picture | None
    after: Picture | None
    same: bool = False  # both show the very same pixels
    more: tuple[Picture | None, ...] = ()  # further inputs, of a row that lists several

    @property
    def usable(self) -> bool:
        """Whether a trainer can be given this pair."""
        images = [picture.image if picture else None for picture in (self.before, self.after, *self.more)]
        return bool(self.instruction) and all(i and not i.problem and is_known_kind(i) for i in images)

    @property
    def control(self) -> Image:
        """The picture before the edit, of a pair that is usable."""
        assert self.before is not None  # noqa: S101 - usable
        return self.before.image

    @property
    def controls(self) -> tuple[Image, ...]:
        return (self.control, *(picture.image for picture in self.more if picture is not None))

    @property
    def target(self) -> Image:
        """The picture after the edit, with its instruction as the caption, of a pair that is usable."""
        assert self.after is not None  # noqa: S101 - usable
        data = f"{self.instruction}\n".encode()
        caption = Caption(self.metadata, self.instruction, 1, hashlib.sha256(data).hexdigest(), bytes=len(data))
        return replace(self.after.image, caption=caption)


@dataclass(frozen=True, slots=True)
class EditSet:
    """All rows of one metadata file."""

    source: Source
    rows: MetadataRows
    pairs: tuple[EditPair, ...] = ()

    @property
    def usable(self) -> tuple[EditPair, ...]:
        """The pairs that are laid out, in the order of their rows."""
        return tuple(pair for pair in self.pairs if pair.usable)

    @property
    def files(self) -> int:
        """How many pictures the rows name, each counted once."""
        every = ((pair.before, pair.after, *pair.more) for pair in self.pairs)
        return len({one.image.path for pictures in every for one in pictures if one is not None})


def edit_survey(source: Source, cache: ScanCache | None = None, *, progress: Progress | None = None) -> Survey:
    """An edit dataset: its pictures after the edit as a scan, with the instructions for captions, and all its rows."""
    rows = read_rows(source.folder)
    named = (value for row in rows.rows for key in (INPUT, OUTPUT) for value in stated(row, key))
    paths = {path for value in named if (path := partner(value, source.folder))}
    found = _read(paths, cache, progress, source.refuses)
    known = {path: picture for path, (picture, _) in found.items()}
    edit = EditSet(source, rows, tuple(_pair(row, source.folder, known) for row in rows.rows))
    kept = edit.usable
    images = tuple(pair.target for pair in kept)
    traits = tuple(pair.after.traits if pair.after else None for pair in kept)
    return Survey(Scan(source, images), traits, sum(fresh for _, fresh in found.values()), edit)


def stated(row: MetadataRow, key: str) -> tuple[object, ...]:
    """What a row says under a key: its input may be a list."""
    value = row.values.get(key)
    return tuple(value) if key == INPUT and isinstance(value, list) and value else (value,)


def partner(value: object, metadata: Path) -> Path | None:
    """The file that a row names, if it may name it and it is there."""
    if not isinstance(value, str) or path_problem(value):
        return None
    path = Path(os.path.normpath(metadata.parent / value))
    return path if os.path.lexists(path) else None


def path_problem(text: str) -> str:
    """Why a row may not name this file, "" if it may: relative to the metadata file, and not out of its folder."""
    if not text.strip():
        return "is empty"
    if "\0" in text:
        return "holds a character that no path has"
    path = PurePosixPath(text)
    if path.is_absolute() or text[1:3] in (":\\", ":/"):
        return "is an absolute path"
    if os.path.normpath(text).partition("/")[0] == "..":
        return "leads out of the metadata file's folder"
    return ""


def is_known_kind(image: Image) -> bool:
    return image.path.suffix.lower() in IMAGE_EXTENSIONS


def one_line(text: str) -> str:
    """An instruction as it is laid out: its words, in one line."""
    return " ".join(text.split())


def edit_line(edit: EditSet) -> str:
    """The dataset in a line: where it is, how many pairs it has, and of which sizes."""
    sizes = Counter(f"{pair.target.width}x{pair.target.height}" for pair in edit.usable).most_common()
    shown = ", ".join(f"{size} ({count})" for size, count in sizes[:4])
    rest = f" and {len(sizes) - 4} more sizes" if len(sizes) > 4 else ""
    usable = len(edit.usable)
    count = f"{usable} edit pairs" if usable == len(edit.pairs) else f"{usable} of {len(edit.pairs)} edit pairs usable"
    return f"{edit.source.folder}: {count}" + (f", {shown}{rest}" if sizes else "")


def _read(
    paths: Iterable[Path], cache: ScanCache | None, progress: Progress | None, refuses: Callable[[Path], str]
) -> Mapping[Path, tuple[Picture, bool]]:
    """Each file once, folder by folder, and whether it had to be decoded."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(paths):
        folders[path.parent].append(path)
    found: dict[Path, tuple[Picture, bool]] = {}
    for folder, members in folders.items():
        names = tuple(path.name for path in members)
        found |= dict(zip(members, pictures(folder, names, cache, progress, refuses), strict=True))
    return found


def _pair(row: MetadataRow, metadata: Path, known: Mapping[Path, Picture]) -> EditPair:
    def found(key: str) -> Iterator[Picture | None]:
        return (known.get(path) if (path := partner(value, metadata)) else None for value in stated(row, key))

    (before, *more), after = found(INPUT), next(found(OUTPUT))
    said = row.values.get(INSTRUCTION)
    instruction = one_line(said) if isinstance(said, str) else ""
    same = before is not None and after is not None and _same(before, after)
    return EditPair(row, metadata, instruction, before, after, same, tuple(more))


def _same(before: Picture, after: Picture) -> bool:
    """The same bytes, or the same pixels in another file; both are decoded again only where they look the same."""
    one, other = before.image, after.image
    if one.problem or other.problem or before.traits is None or after.traits is None:
        return False
    if one.sha256 == other.sha256:
        return True
    alike = one.size == other.size and before.traits.signature == after.traits.signature
    return alike and _pixels(one.path) == _pixels(other.path)


def _pixels(path: Path) -> bytes:
    import PIL.Image

    from kohya_runner.dataset.picture import FORMATS

    try:
        with PIL.Image.open(path, formats=FORMATS) as opened:
            return hashlib.sha256(opened.convert("RGB").tobytes()).digest()
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return os.fsencode(path)


CONCEPT = "pairs"
UNUSED_CAPTIONS = CaptionRules(extension=".caption-of-a-condition")


@dataclass(frozen=True, slots=True)
class Paired:
    """One dataset with its condition images."""

    pictures: Scan
    conditions: Scan

    @property
    def partners(self) -> dict[Path, Image]:
        """The condition image of each picture that has one."""
        by_stem = {stem(image.path.name): image for image in reversed(self.conditions.images) if not image.problem}
        found = ((image.path, by_stem.get(stem(image.path.name))) for image in self.pictures.images)
        return {path: partner for path, partner in found if partner is not None}


Pairs = Paired | EditSet


def read_conditions(pictures: Scan, folder: Path, where: str) -> Paired:
    """The condition images of one dataset, decoded like its pictures."""
    of = pictures.source
    source = Source(folder, CONCEPT, captions=UNUSED_CAPTIONS, where=where, roots=of.roots, follow=of.follow)
    return Paired(pictures, survey(source).scan)


def check_pairs(paired: Paired, *, buckets: bool, sizes: bool = True) -> Iterator[Finding]:
    """Problems in the pairs of one dataset.

    ``buckets``: whether enable_bucket is on. ``sizes``: whether the trainer asks for equal ones.
    """
    where = paired.conditions.source.where
    if paired.conditions.problem:
        text = f"{printable(str(paired.conditions.source.folder))}: {paired.conditions.problem}"
        yield error("dataset.conditioning", text, where=where, hint="name the folder that holds the condition images")
        return
    broken = [image for image in paired.conditions.images if image.problem]
    if broken:
        paths = [image.path for image in broken]
        text = f"{counted(len(paths), 'condition image')} cannot be used: {names(paths)}: {broken[0].problem}"
        yield error("image.condition", text, where=paired.conditions.source.place(paths), hint="replace or remove")
    partners = paired.partners
    missing = [image.path for image in paired.pictures.images if image.path not in partners and not image.problem]
    if missing:  # AssertionError in library/controlnet_dataset.py:153
        text = f"{counted(len(missing), 'picture')} without a condition image: {names(missing)}"
        yield error("dataset.pair_missing", text, where=where, hint="add one of the same name, or remove the picture")
    used = {partner.path for partner in partners.values()}
    surplus = [image.path for image in paired.conditions.images if image.path not in used and not image.problem]
    if surplus:
        text = f"{counted(len(surplus), 'condition image')} without a picture: {names(surplus)}"
        yield warning("dataset.pair_surplus", text, where=where, hint="they are left out")
    pairs = [(image, partners[image.path]) for image in paired.pictures.images if image.path in partners]
    if buckets:  # AssertionError at the first batch, library/controlnet_dataset.py:199
        odd = [image.path for image, partner in pairs if image.size != partner.size]
        text = "that differ in size from their condition image, which the trainer refuses with enable_bucket"
    else:
        odd = [image.path for image, partner in pairs if _ratio(image) != _ratio(partner)]
        text = "that differ in shape from their condition image, which is squeezed to fit"
    if sizes:
        make, hint = error if buckets else warning, "save both in one size"
        yield from about(make, "image.pair_size", paired.pictures, odd, "picture", text, hint)
    same = [image.path for image, partner in pairs if image.sha256 and image.sha256 == partner.sha256]
    text, hint = "that are their own condition image", "there is nothing to learn from"
    yield from about(warning, "image.pair_same", paired.pictures, same, "picture", text, hint)


def _ratio(image: Image) -> float:
    return round(image.width / image.height, 2) if image.height else 0.0
