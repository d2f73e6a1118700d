"""A recipe to start from: a shipped one and what it extends, as one file with another name and other pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(__file__).parents[1]
_KEY = re.compile(r"(\w+):")
_ARG = re.compile(r"  (\w+):")
_IMAGES = re.compile(r"(  - images: )(\S+)")

Blocks = dict[str, list[str]]


def shipped_recipes() -> Path:
    """The folder ``recipes``: inside an installed package, beside the package in a clone."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def starter_file(family: str, example: str) -> Path:
    """The shipped LoRA recipe of a family; ``example`` is the one that the table of families names."""
    own = shipped_recipes() / f"{family}_lora.yaml"
    return own if own.is_file() else shipped_recipes() / Path(example).name


def starter(file: Path, *, name: str, images: str, output: str) -> str:
    """The text of the new recipe, comments included.

    ``images`` is relative to the new file; ``output`` is how a shell names that file.
    """
    head, blocks = _merged(file)
    for key, lines in {"name": [f"name: {name}"], "datasets": _datasets(blocks["datasets"], name, images)}.items():
        blocks[key] = lines
    first = ("name", "family", "method", "model", "components")
    order = [*(key for key in first if key in blocks), *(key for key in blocks if key not in (*first, "args")), "args"]
    lines = [*_head(head, file, output), *(line for key in order for line in blocks[key])]
    return "\n".join(lines) + "\n"


def _merged(file: Path) -> tuple[list[str], Blocks]:
    """The comment at the top of a recipe, and its top-level keys laid on those of its bases."""
    head, own = _blocks(file.read_text(encoding="utf-8"))
    merged: Blocks = {}
    notes: list[str] = []
    for base in re.findall(r"[\w/]+\.yaml", own.pop("extends", [""])[0].partition("#")[0]):
        base_head, blocks = _merged(file.parent / base)
        notes = notes or base_head
        merged = _laid_on(merged, blocks)
    merged = _laid_on(merged, own)
    if notes and "args" in merged:
        merged["args"] = ["", *notes, *merged["args"]]
    return head, merged


def _blocks(text: str) -> tuple[list[str], Blocks]:
    """The lines of each top-level key, and the comment before the first one."""
    head: list[str] = []
    blocks: Blocks = {}
    current = head
    for line in text.splitlines():
        if found := _KEY.match(line):
            current = blocks.setdefault(found[1], [])
        if line.strip():
            current.append(line)
    return head, blocks


def _laid_on(base: Mapping[str, list[str]], over: Mapping[str, list[str]]) -> Blocks:
    """``args`` merge option by option, every other key replaces."""
    merged = {**base, **over}
    if "args" in base and "args" in over:
        options = {**_options(base["args"]), **_options(over["args"])}
        merged["args"] = [base["args"][0], *(line for lines in options.values() for line in lines)]
    return merged


def _options(block: list[str]) -> Blocks:
    """The lines of each option; a comment line belongs to the option below it."""
    options: Blocks = {}
    waiting: list[str] = []
    for line in block[1:]:
        waiting.append(line)
        if found := _ARG.match(line):
            options[found[1]], waiting = waiting, []
        elif not line.lstrip().startswith("#") and options:
            options[next(reversed(options))] += waiting
            waiting = []
    return options


def _datasets(block: list[str], name: str, images: str) -> list[str]:
    text = "\n".join(block)
    text = _IMAGES.sub(lambda found: f"{found[1]}{_quoted(images)}", text, count=1)
    return ["", *re.sub(r"(    concept: )\S+", rf"\g<1>{name}", text, count=1).split("\n")]


def _head(head: list[str], file: Path, output: str) -> list[str]:
    """The comment with commands for the new file; the editor's schema is named relative to the shipped one."""
    text = "\n".join(line for line in head if "$schema" not in line).removeprefix("#\n")
    command = rf"recipes/{re.escape(file.name)}( --set datasets\.0\.images=\S+)?"
    return re.sub(command, lambda _: output, text).split("\n")


def _quoted(path: str) -> str:
    """A path as a YAML scalar."""
    plain = all(c.isalnum() or c in "/._-" for c in path)
    return path if plain else '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
