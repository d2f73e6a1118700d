"""What a method asks of edit datasets: who is trained on them, and what they cannot be mixed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.dataset.edit_rows import is_edit
from kohya_runner.dataset.rows_file import is_rows_file
from kohya_runner.engines import table
from kohya_runner.findings import error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.recipe.load import Loaded

PAIRED = ("pairs", "edit", "controls")
"""The kinds of data that edit pairs can be laid out as."""


def is_edit_entry(loaded: Loaded, index: int) -> bool:
    """Whether an entry of ``datasets`` names the metadata file of an edit dataset."""
    path = loaded.path_from(loaded.datasets[index].images, "datasets", index, "images")
    return is_rows_file(path) and is_edit(path)


def is_missing(loaded: Loaded, index: int) -> bool:
    """Whether an entry names a metadata file that is not there: that is told, and nothing about what it may hold."""
    path = loaded.path_from(loaded.datasets[index].images, "datasets", index, "images")
    return is_rows_file(path) and not path.is_file()


def edit_findings(loaded: Loaded, support: Support) -> Iterator[Finding]:
    """What stands against the edit datasets of a recipe with this method, or against others where it needs them."""
    entries = loaded.datasets
    edits = [index for index in entries if is_edit_entry(loaded, index)]
    for index in edits:
        yield from _one(loaded, support, index)
    if edits and len(edits) < len(entries) and support.data in PAIRED:
        text = "edit datasets and folders cannot be mixed in one run: their pairs are laid out in different ways"
        hint = "write the pairs of the folders into a metadata.jsonl too"
        yield error("recipe.method", text, where=loaded.where("datasets"), hint=hint)
    elif support.data == "edit" and not edits and not any(is_missing(loaded, index) for index in entries):
        text = f"{support.script} trains on edits: an input, an instruction and an output"
        hint = "write images: FOLDER/metadata.jsonl; its rows are described in docs/edit.md"
        yield error("recipe.method", text, where=loaded.where("datasets"), hint=hint)


def _one(loaded: Loaded, support: Support, index: int) -> Iterator[Finding]:
    entry, where = loaded.datasets[index], str(loaded.place("datasets", index))
    if support.data not in PAIRED:
        text = f"method: {support.method} trains on pictures with captions, and this dataset holds edits"
        rows = ", ".join(f"{row.family} {row.method}" for row in table.FAMILIES if row.data in PAIRED)
        yield error("recipe.method", text, where=where, hint=f"name a folder of pictures, or train one of: {rows}")
    if entry.conditioning is not None:
        text = "an edit dataset brings its own condition images: the input of each row"
        at = str(loaded.place("datasets", index, "conditioning"))
        yield error("recipe.method", text, where=at, hint="leave conditioning out")
