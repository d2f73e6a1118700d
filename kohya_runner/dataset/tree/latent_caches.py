"""The caches the trainer writes beside the laid-out images: whose they are, and which are still good.

Latents: ``<stem>_<W>x<H>_<family>.npz`` (library/strategy_sd.py:152), older ones ``<stem>.npz``; text encoder outputs:
``<stem>_te_outputs.npz`` or ``<stem>_<family>_te.npz``. The trainer asks no more than whether the file is there and has
its keys (library/strategy_base.py:427): it notices no other image, caption, resolution or model, so the layout does.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import zipfile
from typing import TYPE_CHECKING

from kohya_runner.dataset.tree.layout import head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kohya_runner.dataset.facts import Folder
    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.dataset.tree.manifest import Manifest

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
        for stem, wanted in _wanted(folder):
            for key in wanted:
                carried += sum(_adopt(cache, target / f"{stem}{end}") for cache, end in known.get(key, ()))
    return carried


def drop_unfinished(tree: Path, *, now: float | None = None) -> tuple[Path, ...]:
    """Remove cache files that a killed run left half written: they stop the trainer (library/strategy_base.py:470)."""
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
                known.setdefault((laid.sha256 + laid.options, prompt), []).append(
                    (folder / name, name[len(laid.path.stem) :])
                )


def _by_start(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, not paths
    except OSError:
        return found
    for name in names:
        if name.endswith(".npz"):
            found.setdefault(head(name), []).append(name)
    return found


def _wanted(folder: Folder) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Each image's stem, with what its latents and its text encoder outputs depend on."""
    for entry in folder.entries:
        caption = entry.image.caption.sha256 if entry.caption and entry.image.caption else ""
        stem = os.path.splitext(entry.name)[0]  # noqa: PTH122 - what the trainer splits with
        content = entry.image.sha256 + folder.options
        yield stem, ((content, ""), (content, _prompt(caption, folder.concept)))


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
