"""The repeat folders the trainer will read, decided: every name, where it leads, and the tree's own name.

The names alone keep the trainer's traps away. Each laid-out stem begins with digits of a hash of its source, all of
one length and no two alike: no stem is the beginning of another (the trainer finds cached image sizes by the beginning
of a name, library/dreambooth_dataset.py:152-174), ``a.png`` and ``a.jpg`` share neither caption nor latent cache, and
the caption fallback for names with four underscores (:91-97) meets no other image's caption. Two entries with the same
concept, repeats and kind share one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.facts import CAPTION_BLANK, Entry, Folder, Image, Scan, dotted
from kohya_runner.errors import UsageError

VERSION = 1
METADATA = "metadata.json"
CONFIG = "dataset.json"
DIGITS = (8, 16, 64)
LONGEST_STEM = 120  # bytes of the source's stem: room for the hash and for ``_1024x1024_lumina.npz`` in 255
LONGEST_CONCEPT = 200  # bytes

_HEAD = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Layout:
    """A tree to be built below ``root``, the recipe's own folder. ``key`` names everything that decides it."""

    root: Path
    key: str
    settings_key: str
    caption_extension: str
    folders: tuple[Folder, ...]
    conditions: tuple[Folder, ...] = ()
    metadata: str = ""  # the text of the metadata file beside the folders
    metadata_name: str = METADATA
    edits: bool = False  # edit pairs: each folder has its pictures in target/ and what they are made from in control/
    config: str = ""  # the text of the trainer's dataset file beside the folders
    own: str = ""  # options of single folders that stand in a dataset file alone

    @property
    def tree(self) -> Path:
        return self.root / self.key

    @property
    def train_dir(self) -> Path:
        """What the trainer gets as --train_data_dir: the parent of the folders, with condition images the only one."""
        parent = self.tree / "train"
        return self.folder_path(self.folders[0]) if self.conditions and self.folders else parent

    @property
    def conditioning_dir(self) -> Path | None:
        """What the trainer gets as --conditioning_data_dir."""
        return self.folder_path(self.conditions[0]) if self.conditions else None

    @property
    def metadata_file(self) -> Path | None:
        """What the trainer gets as --in_json."""
        return self.tree / self.metadata_name if self.metadata else None

    @property
    def config_file(self) -> Path | None:
        """What the trainer gets as --dataset_config, instead of folders."""
        return self.tree / CONFIG if self.config else None

    @property
    def reg_dir(self) -> Path | None:
        """What the trainer gets as --reg_data_dir, None without regularization images."""
        return self.tree / "reg" if any(folder.regularization for folder in self.folders) else None

    def folder_path(self, folder: Folder) -> Path:
        if self.edits:
            return self.tree / folder.name / ("control" if folder.conditions else "target")
        kind = "conditions" if folder.conditions else "reg" if folder.regularization else "train"
        own = f"-{hashlib.sha256(folder.options.encode()).hexdigest()[:8]}" if folder.options else ""
        return self.tree / f"{kind}{own}" / folder.name


def plan_layout(scans: Iterable[Scan], root: Path, settings_key: str, *, caption_extension: str = ".txt") -> Layout:
    """The tree for these scans. Images that cannot be read, and captions the trainer cannot read, are left out.

    ``settings_key`` stands for everything but image and caption that latent and text encoder caches depend on
    (resolution, buckets, model, VAE, interpolation, flip, ...). It is part of the tree's name: other settings get
    another tree, so that no cache is taken away from a run that still reads it.
    """
    grouped: dict[tuple[bool, str, int, str], list[tuple[Image, str]]] = {}
    seen: Counter[str] = Counter()
    for scan in scans:
        source = scan.source
        identity = os.path.abspath(source.folder)
        below = [(image, os.path.relpath(image.path, source.folder)) for image in scan.images]
        images = [(image, f"{identity}\0{name}\0{seen[identity]}") for image, name in below]
        seen[identity] += 1
        usable = [(image, origin) for image, origin in images if not image.problem]
        if usable:
            key = (source.regularization, source.concept, source.repeats, source.options)
            grouped.setdefault(key, []).extend(usable)
    folders = tuple(
        Folder(concept, repeats, regularization, _entries(images, dotted(caption_extension)), options)
        for (regularization, concept, repeats, options), images in sorted(grouped.items())
    )
    return Layout(root, tree_key(folders, settings_key), settings_key, dotted(caption_extension), folders)


def concept_problem(name: str) -> str | None:
    """Why a concept cannot be the second half of a folder's name, or None.

    What stands before the first underscore of the folder's name is the repeats, the rest is the class token
    (library/config_util.py:615), which is the prompt of every image without a caption.
    """
    if not name.strip("_ \t"):
        return "must hold more than underscores and blanks: it is the prompt of images without a caption"
    if name != name.strip():
        return "must not begin or end with a blank: the blank would become part of the prompt"
    if "/" in name or not name.isprintable():
        return "becomes the name of a folder: no '/' and no control characters"
    if name.startswith("."):
        return "must not begin with a dot"
    if len(name.encode()) > LONGEST_CONCEPT:
        return f"becomes the name of a folder: at most {LONGEST_CONCEPT} bytes"
    return None


def _entries(images: list[tuple[Image, str]], caption_extension: str) -> tuple[Entry, ...]:
    """Laid-out names, sorted as the trainer sorts them (library/dataset.py:1456)."""
    if os.path.basename(caption_extension) != caption_extension:  # noqa: PTH119 - the second wall: see options.values
        raise UsageError(f"captions cannot end with {caption_extension!r}", hint="write args.caption_extension: .txt")
    hashes = [hashlib.sha256(os.fsencode(origin)).hexdigest() for _, origin in images]
    digits = next(n for n in DIGITS if len({digest[:n] for digest in hashes}) == len(hashes) or n == DIGITS[-1])
    entries = []
    for (image, _), digest in zip(images, hashes, strict=True):
        usable = image.caption is not None and image.caption.problem in ("", CAPTION_BLANK)
        # in a form that every log and file takes; of a very long stem the end, where face positions stand
        printable = "".join(sign if sign.isprintable() else "_" for sign in stem(image.path.name))
        laid_out = f"{digest[:digits]}-{printable.encode()[-LONGEST_STEM:].decode('utf-8', 'ignore')}"
        caption = f"{laid_out}{caption_extension}" if usable else ""
        written = image.caption is not None and image.caption.written is not None
        entries.append(Entry(f"{laid_out}{image.path.suffix.lower()}", image, caption, written=written))
    return tuple(sorted(entries, key=lambda entry: entry.name))


def head(name: str) -> str:
    """The digits a laid-out name and the names of its caches begin with; no two images share them."""
    found = _HEAD.match(name)
    return found.group() if found else name


def caption_sha256(entry: Entry) -> str:
    return entry.image.caption.sha256 if entry.caption and entry.image.caption else ""


def tree_key(folders: tuple[Folder, ...], settings_key: str, metadata: str = "") -> str:
    """Twelve digits over all that decides the tree and the caches in it."""
    digest = hashlib.sha256(f"{VERSION}\0{settings_key}\0{metadata}".encode())
    for folder in folders:
        digest.update(f"{folder.regularization}\0{folder.name}\0{folder.options}".encode())
        for entry in folder.entries:
            caption = str(entry.image.caption.path) if entry.image.caption else ""
            image = entry.image
            parts = (entry.name, str(image.path), image.sha256, entry.caption, caption, caption_sha256(entry))
            digest.update(os.fsencode("\0".join(parts) + "\n"))
    return digest.hexdigest()[:12]


def content_key(layout: Layout) -> str:
    """Twelve digits over pictures, captions, repeats and options of their own: the same wherever they lie."""
    pictures = {stem(entry.name): entry.image.sha256 for folder in layout.folders for entry in folder.entries}
    rows = sorted(
        "\0".join(
            (
                folder.name,
                folder.options,
                entry.image.sha256,
                _partner(stem(entry.name), pictures) if folder.conditions else caption_sha256(entry),
            )
        )
        for folder in (*layout.folders, *layout.conditions)
        for entry in folder.entries
    )
    return hashlib.sha256("\n".join((*rows, layout.own) if layout.own else rows).encode()).hexdigest()[:12]


def _partner(name: str, pictures: Mapping[str, str]) -> str:
    """The picture that a condition image is for; a second one has a number after its stem."""
    first, _, number = name.rpartition("_")
    return pictures[name] if name in pictures else f"{pictures[first]} {number}"


def with_metadata(layout: Layout) -> Layout:
    """The layout with the metadata file that fine_tune.py reads: every picture with its caption and its size.

    Its keys are relative to --train_data_dir (library/finetuning_dataset.py:126). The size is always given: without it
    the trainer takes a cached latent for the picture itself on the second run (library/finetuning_dataset.py:167-180).
    """
    rows: dict[str, dict[str, object]] = {}
    for folder in layout.folders:
        for entry in folder.entries:  # what the trainer would read from the folder: the first line, or the class token
            caption = entry.image.caption if entry.caption else None
            text = folder.concept if caption is None else caption.text
            rows[f"{folder.name}/{entry.name}"] = {"caption": text, "image_size": list(entry.size)}
    made = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return replace(layout, metadata=made, key=tree_key(layout.folders, layout.settings_key, made))
