"""A source folder, read for good: every image decoded or known from the cache, its traits beside the scan."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.captions import caption_from_text, captions_by_stem, images_in, listed, stem
from kohya_runner.dataset.facts import Caption, Image, Scan, Source, dotted
from kohya_runner.safe_files import Stamp, special, stamp

if TYPE_CHECKING:
    from kohya_runner.dataset.edit import EditSet
    from kohya_runner.dataset.picture import Picture, Traits
    from kohya_runner.dataset.scan_cache import ScanCache

    _Read = tuple[Picture, Stamp | None, Stamp | None]

Progress = Callable[[int, int], None]

AHEAD = 32
"""Pictures that are read before they are asked for: enough to keep all cores busy, few enough to be no memory."""
CHUNK = 400
MOST_THREADS = 16


@dataclass(frozen=True, slots=True)
class Survey:
    """A scan, and the traits of its images in the same order (None for what cannot be read)."""

    scan: Scan
    traits: tuple[Traits | None, ...] = ()
    decoded: int = 0  # images that were read; the others are known from the cache
    edit: EditSet | None = None  # of an edit dataset: all its rows, of which the scan has the usable ones


def survey(source: Source, cache: ScanCache | None = None, *, progress: Progress | None = None) -> Survey:
    """All facts about one source; nothing is decoded that the cache knows. Memory grows by facts alone.

    Links to files are followed where the source says so. ``progress`` is called with (done, total), in this thread.
    """
    if source.made is not None:
        return _made(source, source.made, cache, progress)
    if source.metadata is not None:
        return _listed_in_rows(source, source.metadata, cache, progress)
    try:
        listing = listed(source.folder, dotted(source.captions.extension))
    except OSError as error:
        return Survey(Scan(source, (), problem=error.strerror or str(error)))
    captions = captions_by_stem(source, listing.captions)
    images, traits, decoded = [], [], 0
    for picture, fresh in pictures(source.folder, listing.images, cache, progress, source.refuses):
        caption = captions.get(stem(picture.image.path.name))
        images.append(replace(picture.image, caption=caption) if caption else picture.image)
        traits.append(picture.traits)
        decoded += fresh
    used = {image.caption.path for image in images if image.caption}
    known = {caption.path for caption in captions.values()}
    twice = [name for name in listing.captions if source.folder / name not in known]
    found = Scan(
        source,
        tuple(images),
        orphans=tuple(sorted(known - used)),
        strays=tuple(source.folder / name for name in sorted([*listing.strays, *twice])),
        subfolders=tuple((name, images_in(source.folder / name)) for name in listing.folders),
    )
    return Survey(found, tuple(traits), decoded)


def _listed_in_rows(source: Source, path: Path, cache: ScanCache | None, progress: Progress | None) -> Survey:
    """The pictures that a metadata file names, with the captions it gives them."""
    from kohya_runner.dataset.caption_rows import read_rows, scan_of

    rows = read_rows(path)
    names = tuple(row.name for row in rows.rows)
    found = tuple(pictures(source.folder, names, cache, progress, source.refuses))
    images = tuple(picture.image for picture, _ in found)
    traits = tuple(picture.traits for picture, _ in found)
    return Survey(scan_of(source, rows, images), traits, sum(fresh for _, fresh in found))


def _made(source: Source, made: ClassImages, cache: ScanCache | None, progress: Progress | None) -> Survey:
    """The class images that are there, and those that will be, with the prompt that paints them."""
    missing = frozenset(made.missing())
    names = tuple(name for name in made.names if name not in missing)
    there = {picture.image.path.name: picture for picture, _ in pictures(made.folder, names, cache, progress)}
    images = (there[name].image if name in there else made.planned(name) for name in made.names)
    captioned = tuple(replace(i, caption=made.caption(n)) for i, n in zip(images, made.names, strict=True))
    return Survey(Scan(source, captioned), tuple(there[n].traits if n in there else None for n in made.names))


def pictures(
    folder: Path,
    names: Sequence[str],
    cache: ScanCache | None,
    progress: Progress | None,
    refuses: Callable[[Path], str] = special,
) -> Iterator[tuple[Picture, bool]]:
    """Every picture in order, and whether it had to be read; what ``refuses`` has a word against is not opened."""
    if cache is not None:
        cache.forget_others(folder, names)
    pool = ThreadPoolExecutor(min(MOST_THREADS, cores() + 1), thread_name_prefix="survey")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a decoder about a file: a finding says it
            for done, item in enumerate(_ahead(pool, (folder, names), cache, refuses), start=1):
                fresh = isinstance(item, Future)
                picture, before, after = item.result() if isinstance(item, Future) else (item, None, None)
                if cache is not None:
                    cache.keep(picture, before, after)
                yield picture, fresh
                if progress is not None:
                    progress(done, len(names))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor,
    wanted: tuple[Path, Sequence[str]],
    cache: ScanCache | None,
    refuses: Callable[[Path], str],
) -> Iterator[Picture | Future[_Read]]:
    """What is known as it is, the rest as futures, at most AHEAD of them before they are taken."""
    folder, names = wanted
    waiting: deque[Picture | Future[_Read]] = deque()
    rest = iter(names)
    look = cache.stamp if cache is not None else stamp
    while chunk := tuple(islice(rest, CHUNK)):
        known = cache.known(folder, chunk) if cache is not None else {}
        for name in chunk:
            if why := refuses(folder / name):
                waiting.append(_refused(folder / name, why))
            else:
                waiting.append(known.get(name) or pool.submit(_read, folder / name, look))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
    yield from waiting


def _refused(path: Path, why: str) -> Picture:
    from kohya_runner.dataset.picture import Picture

    return Picture(Image(path, 0, 0, 0, "", problem=why))


def _read(path: Path, look: Callable[[str], Stamp | None]) -> _Read:
    from kohya_runner.dataset.picture import read_picture  # Pillow costs start-up time that a wrong recipe need not pay

    before = look(str(path))
    picture = read_picture(path)
    return picture, before, look(str(path))


def cores() -> int:
    """The cores this process may use: in a container fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not on Linux
        return os.cpu_count() or 1


def read_source(source: Source, cache: ScanCache | None = None, *, progress: Progress | None = None) -> Survey:
    """One entry of the recipe's datasets, read: a folder, or the metadata file of an edit dataset."""
    if not source.edit:
        return survey(source, cache, progress=progress)
    from kohya_runner.dataset.edit import edit_survey

    return edit_survey(source, cache, progress=progress)


PLANNED = "to be painted"
FORMAT = "PNG"


@dataclass(frozen=True, slots=True)
class ClassImages:
    """``count`` pictures in a folder of the workspace that is named for all that decides them."""

    folder: Path
    prompt: str
    count: int
    size: tuple[int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each, by its number; the number is its seed, too."""
        return tuple(f"class_{number:06d}.png" for number in range(self.count))

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if not os.path.isfile(self.folder / name))

    def seed(self, name: str) -> int:
        return int(name.removeprefix("class_").removesuffix(".png"))

    def planned(self, name: str) -> Image:
        """A picture that is not there yet, as it will be; its bytes are the most that they can be."""
        width, height = self.size
        path = self.folder / name
        return Image(path, width, height, 3 * width * height, f"{PLANNED} {path.name}", format=FORMAT)

    def caption(self, name: str) -> Caption:
        """Each is trained with the prompt that it was painted by."""
        return caption_from_text(self.prompt, str(self.folder / name.replace(".png", ".txt")))


def is_planned(image: Image) -> bool:
    return image.sha256.startswith(PLANNED)
