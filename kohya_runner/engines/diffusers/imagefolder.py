"""Edit pairs as the InstructPix2Pix examples of diffusers read them: an image folder with a metadata.jsonl.

The keys that end in ``_file_name`` become the columns that the scripts ask for by default: input_image and edited_image
(train_instruct_pix2pix.py:160-175). A dataset's repeats are as many rows: the scripts have no other way.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.tree.edit_layout import edit_folders
from kohya_runner.dataset.tree.layout import tree_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.dataset.tree.layout import Layout

NAME = "metadata.jsonl"


def with_imagefolder(layout: Layout) -> Layout:
    """The layout of edit pairs with the file that lists them; its paths are relative to the tree."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _rows(layout))
    key = tree_key((*layout.folders, *layout.conditions), layout.settings_key, f"{layout.key}\0{text}")
    return replace(layout, metadata=text, metadata_name=NAME, key=key)


def _rows(layout: Layout) -> Iterator[dict[str, str]]:
    for folder in edit_folders(layout):
        inside = folder.target.parent.name
        for target, control in folder.pairs:
            row = {
                "input_image_file_name": f"{inside}/{folder.control.name}/{control.name}",
                "edited_image_file_name": f"{inside}/{folder.target.name}/{target.name}",
                "edit_prompt": target.image.caption.text if target.image.caption else "",
            }
            yield from (row for _ in range(folder.repeats))
