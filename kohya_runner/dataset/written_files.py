"""The files of a tree that lead to no source: captions written as their text, pictures written in another size."""

from __future__ import annotations

import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import safe_files
from kohya_runner.errors import DatasetError

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Entry
    from kohya_runner.dataset.layout import Layout


@dataclass(frozen=True, slots=True)
class LinkMethod:
    """One way to make a source appear under another name."""

    name: str
    make: Callable[[Path, Path], object]


LINK_METHODS = (
    LinkMethod("symlink", os.symlink),
    LinkMethod("hard link", lambda source, target: os.link(os.path.realpath(source), target)),
    LinkMethod("copy", shutil.copyfile),
)
"""In the order of preference; link(2) itself does not follow symlinks."""


def place(source: Path, target: Path, size: int, ways: tuple[LinkMethod, ...]) -> tuple[LinkMethod, ...]:
    """Make ``target`` lead to ``source``; the ways that are left, the first of which worked.

    DatasetError where the file there has not the size that was read; OSError of the last way where none works.
    """
    for number, way in enumerate(ways):
        try:
            way.make(source, target)
            found = target.stat().st_size
        except OSError:
            target.unlink(missing_ok=True)
            if number + 1 == len(ways) or not source.exists():
                raise
            continue
        if found != size:
            raise DatasetError(f"{source} has changed since it was read", hint="run the command again")
        return ways[number:]
    raise ValueError("no way to place a file")


def leads_to(target: Path, source: Path, size: int) -> bool:
    """Whether a laid-out file is still what was placed: a link to that source, or a file, of the recorded size."""
    try:
        if target.is_symlink() and os.readlink(target) != str(source):  # noqa: PTH115 - as text
            return False
        return target.stat().st_size == size
    except OSError:
        return False


SAME_SHAPE = 0.02
"""How much two shapes may differ and still be one: sides that were rounded to a multiple of something."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One file to write, and the entry it belongs to."""

    path: Path
    entry: Entry
    caption: bool  # the caption of the entry, else its picture


def parts(layout: Layout) -> Iterator[WrittenFile]:
    """Everything of a layout that is written and not linked."""
    for folder in (*layout.folders, *layout.conditions):
        place = layout.folder_path(folder)
        for entry in folder.entries:
            if entry.fit is not None:
                yield WrittenFile(place / entry.name, entry, caption=False)
            if entry.written and entry.caption and entry.image.caption:
                yield WrittenFile(place / entry.caption, entry, caption=True)


def make(part: WrittenFile, target: Path) -> int:
    """Write one file; its size in bytes.

    Raises:
        DatasetError: the picture is no longer what was read.
    """
    entry = part.entry
    if part.caption or entry.fit is None:
        data = caption_bytes(entry)
    elif (there := safe_files.status(entry.image.path)) is None or there.st_size != entry.image.bytes:
        raise DatasetError(f"{entry.image.path} has changed since it was read", hint="run the command again")
    else:
        data = fitted(entry.image.path, entry.fit)
    safe_files.write_bytes(target, data)
    return len(data)


def caption_bytes(entry: Entry) -> bytes:
    """The caption as it stands in a metadata file, an instruction as one line."""
    caption = entry.image.caption
    if caption is not None and caption.written is not None:
        return caption.written.encode()
    return f"{caption.text if caption else ''}\n".encode()


def fitted(path: Path, size: tuple[int, int]) -> bytes:
    """A picture as a PNG of this width and height: stretched where the shape is the same, else cut at the sides.

    Without alpha and without EXIF rotation, as the trainers read it.
    """
    import PIL.Image
    import PIL.ImageOps

    from kohya_runner.dataset.picture import FORMATS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a decoder about a file: a finding says it
        with PIL.Image.open(path, formats=FORMATS) as opened:
            plain = opened.convert("RGB")
    whole = same_shape(plain.size, size)
    filter_ = PIL.Image.Resampling.LANCZOS
    made = plain.resize(size, filter_) if whole else PIL.ImageOps.fit(plain, size, filter_)
    buffer = io.BytesIO()
    made.save(buffer, "PNG")
    return buffer.getvalue()


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one shape, but for rounding."""
    if not (all(one) and all(other)):
        return False
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= SAME_SHAPE
