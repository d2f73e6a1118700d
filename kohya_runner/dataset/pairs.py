"""Pictures and their condition images: read together, checked as pairs.

ControlNet reads one flat folder and pairs by stem; a picture without a condition image stops it, and so does a
condition image without a picture (library/train_util.py:2439-2490). The layout gives both the same stem, and leaves
out what has no partner.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.dataset.facts import CaptionRules, Source
from kohya_runner.dataset.survey import survey
from kohya_runner.findings import error, warning
from kohya_runner.text import counted, names, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.dataset.facts import Image, Scan
    from kohya_runner.findings import Finding

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
        by_stem = {_stem(image.path): image for image in reversed(self.conditions.images) if not image.problem}
        found = ((image.path, by_stem.get(_stem(image.path))) for image in self.pictures.images)
        return {path: partner for path, partner in found if partner is not None}


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
    yield from _unreadable(paired)
    yield from _alone(paired, where)
    if sizes:
        yield from _sizes(paired, buckets=buckets)
    yield from _same(paired)


def _unreadable(paired: Paired) -> Iterator[Finding]:
    broken = [image for image in paired.conditions.images if image.problem]
    if broken:
        paths = [image.path for image in broken]
        text = f"{counted(len(paths), 'condition image')} cannot be used: {names(paths)}: {broken[0].problem}"
        yield error("image.condition", text, where=paired.conditions.source.place(paths), hint="replace or remove")


def _alone(paired: Paired, where: str) -> Iterator[Finding]:
    partners = paired.partners
    missing = [image.path for image in paired.pictures.images if image.path not in partners and not image.problem]
    if missing:  # AssertionError in library/train_util.py:2487
        text = f"{counted(len(missing), 'picture')} without a condition image: {names(missing)}"
        yield error("dataset.pair_missing", text, where=where, hint="add one of the same name, or remove the picture")
    used = {partner.path for partner in partners.values()}
    surplus = [image.path for image in paired.conditions.images if image.path not in used and not image.problem]
    if surplus:
        text = f"{counted(len(surplus), 'condition image')} without a picture: {names(surplus)}"
        yield warning("dataset.pair_surplus", text, where=where, hint="they are left out")


def _sizes(paired: Paired, *, buckets: bool) -> Iterator[Finding]:
    pairs = [(image, paired.partners[image.path]) for image in paired.pictures.images if image.path in paired.partners]
    if buckets:  # AssertionError at the first batch, library/train_util.py:2537
        odd = [image.path for image, partner in pairs if _size(image) != _size(partner)]
        text = "that differ in size from their condition image, which the trainer refuses with enable_bucket"
        make = error
    else:
        odd = [image.path for image, partner in pairs if _ratio(image) != _ratio(partner)]
        text = "that differ in shape from their condition image, which is squeezed to fit"
        make = warning
    if odd:
        hint = "save both in one size"
        message = f"{counted(len(odd), 'picture')} {text}: {names(odd)}"
        yield make("image.pair_size", message, where=paired.pictures.source.place(odd), hint=hint)


def _same(paired: Paired) -> Iterator[Finding]:
    partners = paired.partners
    images = (image for image in paired.pictures.images if image.sha256 and image.path in partners)
    same = [image.path for image in images if image.sha256 == partners[image.path].sha256]
    if same:
        text = f"{counted(len(same), 'picture')} that are their own condition image: {names(same)}"
        yield warning(
            "image.pair_same", text, where=paired.pictures.source.place(same), hint="there is nothing to learn from"
        )


def _stem(path: Path) -> str:
    return os.path.splitext(path.name)[0]  # noqa: PTH122 - what the trainer splits with


def _size(image: Image) -> tuple[int, int]:
    return image.width, image.height


def _ratio(image: Image) -> float:
    return round(image.width / image.height, 2) if image.height else 0.0
