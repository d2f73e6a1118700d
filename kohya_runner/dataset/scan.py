"""One source folder, read once: every image decoded, every caption read by the trainer's rule."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.captions import read_caption
from kohya_runner.dataset.facts import IMAGE_EXTENSIONS, Scan, dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from kohya_runner.dataset.facts import Caption, Image, Source

    Progress = Callable[[int, int], None]

THREADS = 4


@dataclass(frozen=True, slots=True)
class _Listing:
    """The names in a folder, sorted, by what they are to the trainer."""

    images: tuple[str, ...]
    captions: tuple[str, ...]
    strays: tuple[str, ...]
    folders: tuple[str, ...]


def scan(source: Source, *, progress: Progress | None = None) -> Scan:
    """All facts about one source folder: its own files, not those of subfolders, and no dotfiles, as the trainer does.

    Links to files are followed, wherever they lead. ``progress`` is called with (done, total), in this thread.
    """
    try:
        listing = _listed(source.folder, dotted(source.captions.extension))
    except OSError as error:
        return Scan(source, (), problem=error.strerror or str(error))
    captions = _by_stem(source, listing.captions)
    images = _read(tuple(source.folder / name for name in listing.images), progress)
    paired = tuple(replace(image, caption=captions.get(_stem(image.path.name))) for image in images)
    used = {image.caption.path for image in paired if image.caption}
    known = {caption.path for caption in captions.values()}
    twice = [name for name in listing.captions if source.folder / name not in known]
    return Scan(
        source,
        paired,
        orphans=tuple(sorted(known - used)),
        strays=tuple(source.folder / name for name in sorted([*listing.strays, *twice])),
        subfolders=tuple((name, _count(source.folder / name)) for name in listing.folders),
    )


def is_image(name: str) -> bool:
    """Whether a name has an image's extension, in whatever case: the layout writes it in lower case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 - what the trainer splits with


def _listed(folder: Path, extension: str) -> _Listing:
    images, captions, strays, folders = [], [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif is_image(entry.name):
                images.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() == extension.lower():  # noqa: PTH122
                captions.append(entry.name)
            else:
                strays.append(entry.name)
    return _Listing(tuple(sorted(images)), tuple(sorted(captions)), tuple(sorted(strays)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere, or to itself, is a file that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _by_stem(source: Source, names: Iterable[str]) -> Mapping[str, Caption]:
    """Captions by stem. Where ``a.txt`` and ``a.TXT`` are both there, the one spelt like the rule counts."""
    chosen: dict[str, str] = {}
    for name in names:
        if _stem(name) not in chosen or name.endswith(dotted(source.captions.extension)):
            chosen[_stem(name)] = name
    return {stem: read_caption(source.folder / name) for stem, name in chosen.items()}


def _read(paths: tuple[Path, ...], progress: Progress | None) -> tuple[Image, ...]:
    if not paths:
        return ()
    from kohya_runner.dataset.decode import read_image  # Pillow costs start-up time that a wrong recipe need not pay

    found = []
    pool = ThreadPoolExecutor(min(THREADS, len(paths), (os.cpu_count() or 1) + 1), thread_name_prefix="scan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a decoder about a file: here, too, a finding says it
            for done, image in enumerate(pool.map(read_image, paths), start=1):
                found.append(image)
                if progress is not None:
                    progress(done, len(paths))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return tuple(found)


def _count(folder: Path) -> int:
    """How many images a folder holds; 0 where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for entry in entries if is_image(entry.name))
    except OSError:
        return 0
