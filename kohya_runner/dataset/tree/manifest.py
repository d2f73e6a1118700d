"""The file that says what a laid-out tree consists of: laid-out names, their sources, hashes and sizes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kohya_runner import atomic
from kohya_runner.dataset.tree.layout import VERSION, caption_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.dataset.facts import Entry
    from kohya_runner.dataset.tree.layout import Layout

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
    atomic.write_text(tree / NAME, json.dumps(value, indent=1) + "\n")


def _described(entry: Entry) -> dict[str, Any]:
    image = entry.image
    facts: dict[str, Any] = {
        "source": str(image.path),
        "sha256": image.sha256,
        "bytes": image.bytes,
        "width": image.width,
        "height": image.height,
    }
    if entry.caption and image.caption:
        facts["caption"] = entry.caption
        facts["caption_source"] = str(image.caption.path)
        facts["caption_sha256"] = caption_sha256(entry)
        facts["caption_bytes"] = image.caption.bytes
    return facts


def read(tree: Path) -> Manifest | None:
    """The manifest of a tree; None where there is none, or one that this version does not understand."""
    try:
        value = json.loads((tree / NAME).read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            return None
        images = tuple(
            Laid(
                tree / folder["path"] / name,
                facts["sha256"],
                facts.get("caption_sha256", ""),
                folder["concept"],
                folder.get("options", ""),
            )
            for folder in value["folders"]
            for name, facts in folder["files"].items()
        )
        return Manifest(value["key"], value["settings_key"], images, value.get("made", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
