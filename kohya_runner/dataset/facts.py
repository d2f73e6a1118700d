"""What was found in the dataset folders: frozen values, read once, that everything else decides on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.safe_files import is_inside, special
from kohya_runner.text import printable

if TYPE_CHECKING:
    from kohya_runner.dataset.survey import ClassImages

MANIFEST, ENTRIES, ANSWERS, FOCUS = "manifest.json", "datasets.yaml", "answers.jsonl", ".focus"
"""Of a version of a dataset (answers: of models, with what they were asked); and the ending of a file beside a picture
that says what a crop keeps."""

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What sd-scripts reads without extra packages (library/dataset.py:77); it also knows the all-upper forms."""

IMAGE_FORMATS = {
    ".png": ("PNG",),
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".webp": ("WEBP",),
    ".bmp": ("BMP", "DIB"),
}
"""What the content of a file should be, by its extension. Phones write JPEG files that Pillow calls MPO."""


def dotted(extension: str) -> str:
    """A caption extension as the trainer understands it: a missing dot is added (library/subset.py:136)."""
    return extension if extension.startswith(".") else f".{extension}"


@dataclass(frozen=True, slots=True)
class CaptionRules:
    """What the recipe promises about every caption of a dataset; ``extension`` with its dot, see ``dotted``."""

    extension: str = ".txt"
    starts_with: str | None = None
    contains_any: tuple[str, ...] = ()
    contains_all: tuple[str, ...] = ()
    matches: str | None = None
    max_tokens: int | None = None
    optional: bool = False  # a picture without a caption is trained as the concept, and that is meant
    ignored: bool = False  # no caption is read


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of the recipe's ``datasets``: an absolute folder, and what to do with it."""

    folder: Path
    concept: str
    repeats: int = 1
    regularization: bool = False
    expect: int | None = None
    captions: CaptionRules = field(default_factory=CaptionRules)
    where: str = ""  # file:line:column of the entry in the recipe
    metadata: Path | None = None  # the file in the folder that lists pictures and captions; None: they lie there
    options: str = ""  # options of this dataset alone, see own_options.canonical
    made: ClassImages | None = None  # class images that the runner has painted, or will
    roots: tuple[Path, ...] = ()  # where its links may lead besides its own folder
    follow: bool = False  # wherever they lead

    def refuses(self, path: Path) -> str:
        """Why a file of the dataset is not opened, "" where it is: a link may lead to a secret, or to a device."""
        beside = path.parent == self.folder or is_inside(path.parent, (self._home,))
        if beside and not path.is_symlink():
            return ""
        odd = special(path)
        return odd or ("" if self.follow or is_inside(path, (self._home, *self.roots)) else LINK)

    @property
    def _home(self) -> Path:
        """Its own folder; of a snapshot in the Hub's cache, whose files are links, all of the repository there."""
        folder = self.folder.parent if self.edit else self.folder
        kept = next((above for above in (folder, *folder.parents) if above.name == "snapshots"), None)
        return kept.parent if kept is not None and (kept.parent / "blobs").is_dir() else folder

    @property
    def edit(self) -> bool:
        """Whether ``folder`` is no folder but the metadata file of an edit dataset."""
        return self.folder.suffix in (".json", ".jsonl")

    def place(self, paths: Sequence[Path]) -> str:
        """Where a finding about files points: the one file, else the recipe's entry, else the folder."""
        return printable(str(paths[0])) if len(paths) == 1 else self.where or printable(str(self.folder))


LINK = "is a link that leads out of the dataset's folder"
CAPTION_EMPTY = "empty"
CAPTION_BLANK = "blank first line"
CAPTION_ENCODING = "not UTF-8"


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption file. ``text`` is what the trainer reads of it: the first line, stripped, a BOM included."""

    path: Path
    text: str
    lines: int  # lines with something in them; the trainer reads the first line only
    sha256: str
    problem: str = ""  # "" or one of the CAPTION_ constants, or "unreadable: ..."
    bom: bool = False
    bytes: int = 0
    written: str | None = None  # the text of a caption that has no file of its own


@dataclass(frozen=True, slots=True)
class Image:
    """An image file, fully decoded once. Width and height in pixels, before any EXIF rotation."""

    path: Path
    width: int
    height: int
    bytes: int
    sha256: str
    caption: Caption | None = None
    problem: str = ""  # why it cannot be read, "" if it can
    format: str = ""  # what the content is, by Pillow's name

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Scan:
    """All that was found in one source folder; ``images`` sorted by name."""

    source: Source
    images: tuple[Image, ...]
    orphans: tuple[Path, ...] = ()  # caption files without an image
    strays: tuple[Path, ...] = ()  # files the trainer would not read
    subfolders: tuple[tuple[str, int], ...] = ()  # (name, images inside): not read, the trainer does not recurse
    problem: str = ""  # why the folder could not be read at all


@dataclass(frozen=True, slots=True)
class Entry:
    """One image as it is laid out: its file name, where it comes from, and its caption's file name ("" for none)."""

    name: str
    image: Image
    caption: str = ""
    written: bool = False  # the caption has no file of its own: it is written as its text
    fit: tuple[int, int] | None = None  # written resized to this width and height, not linked

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size


@dataclass(frozen=True, slots=True)
class Folder:
    """One ``N_concept`` folder of the laid-out tree; ``entries`` in the order in which the trainer lists them."""

    concept: str
    repeats: int
    regularization: bool
    entries: tuple[Entry, ...]
    options: str = ""  # of this folder alone, see own_options.canonical
    conditions: bool = False  # the condition images of the pictures, under the pictures' names

    @property
    def name(self) -> str:
        """``10_cat``: the trainer takes the number for the repeats (library/config_util.py:614)."""
        return f"{self.repeats}_{self.concept}"

    @property
    def images(self) -> int:
        """How many images it holds, without repeats."""
        return len(self.entries)

    @property
    def captions(self) -> int:
        """How many of its images have a caption file."""
        return sum(1 for entry in self.entries if entry.caption)
