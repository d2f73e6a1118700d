"""The metadata file that fine_tune.py reads: every laid-out picture with its caption and its size.

The size is always given: without it the trainer takes a cached latent for the picture itself on the second run
(library/train_util.py:2306-2317).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.tree.layout import tree_key

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Entry, Folder
    from kohya_runner.dataset.tree.layout import Layout


def with_metadata(layout: Layout) -> Layout:
    """The layout with a metadata file; its keys are relative to --train_data_dir (library/train_util.py:2275)."""
    rows = {
        f"{folder.name}/{entry.name}": {"caption": _caption(folder, entry), "image_size": list(entry.size)}
        for folder in layout.folders
        for entry in folder.entries
    }
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return replace(layout, metadata=text, key=tree_key(layout.folders, layout.settings_key, text))


def _caption(folder: Folder, entry: Entry) -> str:
    """What the trainer would read from the folder: the caption's first line, else the class token."""
    caption = entry.image.caption if entry.caption else None
    return folder.concept if caption is None else caption.text
