"""The file that says what a laid-out tree consists of: laid-out names, their sources, hashes and sizes."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_runner import safe_files
from kohya_runner.dataset.facts import Entry
from kohya_runner.dataset.layout import VERSION, Layout, caption_sha256, head

_Known = dict[tuple[str, str], list[tuple[Path, str]]]  # (image, prompt) -> caches and what follows their stem

SETTLED = 10.0
"""Seconds after which an unfinished cache file is one that nobody is writing any more."""

_TEXT_ENCODER = re.compile(r"_te(_outputs)?\.npz$")


def is_cache_of(name: str, stem: str) -> bool:
    """Whether a file name is that of a cache of the image with this stem."""
    return name.endswith(".npz") and name.startswith(stem) and name[len(stem)] in "._"


def carry_over(old: Iterable[Manifest], layout: Layout, tree: Path) -> int:
    """Put into ``tree`` the finished caches of older trees that hold for its images; how many they were.

    An older tree counts if it has the same settings. A cache is good for the same image content, one of the text
    encoders also needs the same caption. Hard links where possible: no second copy on the disk.
    """
    known: _Known = {}
    for manifest in old:
        if manifest.settings_key == layout.settings_key:
            _collect(manifest, known)
    carried = 0
    for folder in layout.folders:
        target = tree / layout.folder_path(folder).relative_to(layout.tree)
        for entry in folder.entries:
            stem = os.path.splitext(entry.name)[0]  # noqa: PTH122 - what the trainer splits with
            content = entry.image.sha256 + folder.options
            for key in ((content, ""), (content, _prompt(caption_sha256(entry), folder.concept))):  # latents, texts
                carried += sum(_adopt(cache, target / f"{stem}{end}") for cache, end in known.get(key, ()))
    return carried


def drop_unfinished(tree: Path, *, now: float | None = None) -> tuple[Path, ...]:
    """Remove cache files that a killed run left half written: they stop the trainer (library/strategy_base.py:473)."""
    moment = time.time() if now is None else now
    broken = [p for p in tree.glob("*/*/*.npz") if moment - p.stat().st_mtime > SETTLED and not zipfile.is_zipfile(p)]
    for path in broken:
        path.unlink(missing_ok=True)
    return tuple(broken)


def _collect(manifest: Manifest, known: _Known) -> None:
    """Caches by what they depend on: the image's hash, and for text encoders the prompt's."""
    listed: dict[Path, dict[str, list[str]]] = {}
    for laid in manifest.images:
        folder = laid.path.parent
        if folder not in listed:
            listed[folder] = _by_start(folder)
        for name in listed[folder].get(head(laid.path.name), ()):
            if is_cache_of(name, laid.path.stem):
                prompt = _prompt(laid.caption_sha256, laid.concept) if _TEXT_ENCODER.search(name) else ""
                cache = (folder / name, name[len(laid.path.stem) :])
                known.setdefault((laid.sha256 + laid.options, prompt), []).append(cache)


def _by_start(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names, not paths
            if name.endswith(".npz"):
                found.setdefault(head(name), []).append(name)
    return found


def _prompt(caption_sha256: str, concept: str) -> str:
    return caption_sha256 or f"class token {concept}"


def _adopt(cache: Path, target: Path) -> bool:
    """Link or copy one finished cache to another name."""
    if target.exists() or not zipfile.is_zipfile(cache):
        return False
    try:
        os.link(cache, target)
    except OSError:
        shutil.copyfile(cache, target)
    return True


NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Laid:
    """One image of a tree that was built: its path in the tree, and what its caches depend on."""

    path: Path  # absolute
    sha256: str
    caption_sha256: str
    concept: str  # the prompt where there is no caption
    options: str = ""  # of its dataset alone


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an existing tree says of itself."""

    key: str
    settings_key: str
    images: tuple[Laid, ...]
    made: Mapping[str, int] = field(default_factory=dict)  # bytes of the files that were written, by their place


def write(layout: Layout, tree: Path, made: Mapping[str, int] | None = None) -> None:
    """Put the manifest of a layout into ``tree``. Undecodable bytes of file names are kept as JSON escapes."""
    value = {
        "version": VERSION,
        "key": layout.key,
        "settings_key": layout.settings_key,
        "folders": [
            {
                "path": str(layout.folder_path(folder).relative_to(layout.tree)),
                "concept": folder.concept,
                "repeats": folder.repeats,
                "regularization": folder.regularization,
                "options": folder.options,
                "files": {entry.name: _described(entry) for entry in folder.entries},
            }
            for folder in layout.folders
        ],
        "made": dict(made or {}),
    }
    safe_files.write_text(tree / NAME, json.dumps(value, indent=1) + "\n")


def _described(entry: Entry) -> dict[str, Any]:
    image = entry.image
    facts: dict[str, Any] = {"source": str(image.path), "sha256": image.sha256, "bytes": image.bytes}
    facts |= {"width": image.width, "height": image.height}
    if entry.caption and image.caption:
        facts |= {"caption": entry.caption, "caption_source": str(image.caption.path)}
        facts |= {"caption_sha256": caption_sha256(entry), "caption_bytes": image.caption.bytes}
    return facts


def read(tree: Path) -> Manifest | None:
    """The manifest of a tree; None where there is none, or one that this version does not understand."""
    try:
        value = json.loads((tree / NAME).read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            return None
        images = tuple(
            Laid(tree / folder["path"] / name, facts["sha256"], facts.get("caption_sha256", ""), folder["concept"],
                 folder.get("options", ""))
            for folder in value["folders"]
            for name, facts in folder["files"].items()
        )  # fmt: skip
        return Manifest(value["key"], value["settings_key"], images, value.get("made", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
