"""Recipes that the runner writes: one to start from, and one that launches the same run again on any machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import reference
from kohya_runner.recipe.template import has_template
from kohya_runner.text import masked_option, masked_text, plain
from kohya_runner.yamlio import Key, Node, scalar

PACKAGE = Path(__file__).parents[1]
_KEY = re.compile(r"(\w+):")
_ARG = re.compile(r"  (\w+):")
_OF_ENTRY = re.compile(r"    (\w+):")
_OWN = ("images", "concept", "repeats", "captions", "conditioning", "regularization")
_FIGURES = re.compile(r"\d pictures x |^# \d+ x \d+ = ")
"""Lines at the top of a shipped recipe that hold for its own pictures alone."""

Blocks = dict[str, list[str]]
WIDE = 118


def shipped_recipes() -> Path:
    """The folder ``recipes``: inside an installed package, beside the package in a clone."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def starter_file(family: str, example: str) -> Path:
    """The shipped LoRA recipe of a family; ``example`` is the one that the table of families names."""
    own = shipped_recipes() / f"{family}_lora.yaml"
    return own if own.is_file() else shipped_recipes() / Path(example).name


class Filled(NamedTuple):
    """What the pictures decide: the lines of each dataset, options with their reasons, and what they leave open."""

    entries: tuple[tuple[str, ...], ...]
    args: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...] = ()


def starter(file: Path, filled: Filled, *, name: str, output: str) -> str:
    """The text of the new recipe, comments included; ``output`` is how a shell names the new file."""
    head, blocks = _merged(file)
    blocks["name"] = [f"name: {name}"]
    told = [f"# {plain(note)}" for note in filled.notes]
    blocks["datasets"] = ["", *told, "datasets:", *_entries(filled.entries, _rest(blocks["datasets"]))]
    block = blocks.get("args", ["args:"])
    start = next(number for number, line in enumerate(block) if line.startswith("args:")) + 1
    options = _options(block[start - 1 :])
    options |= {key: _because(f"  {key}: {value}", why) for key, (value, why) in filled.args.items()}
    blocks["args"] = [*block[:start], *(line for lines in options.values() for line in lines)]
    first = ("name", "family", "method", "model", "components")
    order = [*(key for key in first if key in blocks), *(key for key in blocks if key not in (*first, "args")), "args"]
    lines = [*_head(head, file, output), *(line for key in order for line in blocks[key])]
    return "\n".join(lines) + "\n"


def _rest(block: list[str]) -> list[str]:
    """What the shipped recipe says of its dataset beside pictures, concept and repeats: options of the trainer."""
    kept: list[str] = []
    key = ""
    for line in block[1:]:
        found = _OF_ENTRY.match(line.replace("  - ", "    ", 1))
        key = found[1] if found else key
        kept += [line] if key and key not in _OWN else []
    return kept


def _entries(entries: Sequence[Sequence[str]], rest: list[str]) -> Iterator[str]:
    for first, *others in entries:
        lines = [*_because(f"  - {first}"), *(line for one in others for line in _because(f"    {one}"))]
        yield from (*lines, *rest)


def _because(line: str, why: str = "") -> list[str]:
    """A line with its reason behind it, or above it where both are too long for one."""
    text, _, said = (line, "", why) if why else line.partition("  # ")
    if not said:
        return [text]
    whole = f"{text:<31}  # {said}"
    indent = text[: len(text) - len(text.lstrip(" -"))].replace("-", " ")
    return [whole] if len(whole) <= WIDE or "- " in text[: len(indent)] else [f"{indent}# {said}", text]


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


def _head(head: list[str], file: Path, output: str) -> list[str]:
    """The comment with commands for the new file; the editor's schema is named relative to the shipped one."""
    kept = (line for line in head if "$schema" not in line and not _FIGURES.search(line))
    text = "\n".join(kept).removeprefix("#\n")
    command = rf"recipes/{re.escape(file.name)}( --set datasets\.0\.images=\S+)?"
    return re.sub(command, lambda _: output, text).split("\n")


DEFAULT = "default of kohya-runner"


class _Leaf(NamedTuple):
    value: Any
    source: str


_Tree: TypeAlias = "_Leaf | dict[str, _Tree] | list[_Tree]"


def resolved_recipe(
    loaded: Loaded, paths: Collection[str], title: str, added: Sequence[str], moved: Callable[[Path], str] = str
) -> str:
    """The text of ``recipe.yaml``. ``paths`` are options that name files, ``added`` what the runner passes besides.

    A variable stays as it was written, so that no value of the environment gets into the file. ``moved`` says where a
    file or folder is for whoever reads it.
    """
    reader = _Reading(loaded, paths, moved)
    tree = reader.tree(loaded.written or loaded.tree, ())
    assert isinstance(tree, dict)  # noqa: S101 - a recipe that was launched
    tree.pop("extends", None)
    workspace = tree.pop("workspace", None)
    if loaded.recipe is not None:
        _add_defaults(tree, {k: v for k, v in loaded.recipe.model_dump(mode="json").items() if k != "extends"})
    head = [
        f"# The recipe of the run {title}, resolved: each value, and where it came from. To launch it again:",
        "#   kohya-runner launch recipe.yaml --workspace DIR      on another machine name your own pictures and files:",
        "#   --set datasets.0.images=DIR --set model=FILE. The plan says what differs from the run (record.json).",
    ]
    if isinstance(workspace, _Leaf):
        head.append(f"# workspace: {scalar(workspace.value)}  # {workspace.source}; not part of the run")
    tail = [f"# added by the runner: {plain(masked_text(' '.join(added)))}"] if added else []
    return "\n".join([*head, "", *_lines(tree, ""), *tail]) + "\n"


class _Reading(NamedTuple):
    loaded: Loaded
    paths: Collection[str]
    moved: Callable[[Path], str]

    def tree(self, node: Node, path: tuple[Key, ...]) -> _Tree:
        if isinstance(node.value, dict) and node.value:
            return {key: self.tree(child, (*path, key)) for key, child in node.value.items()}
        if isinstance(node.value, tuple) and node.value:
            return [self.tree(child, (*path, index)) for index, child in enumerate(node.value)]
        place = node.place
        source = plain(f"{place.source}:{place.line}" if place.line else place.source).replace("\n", " ")
        return _Leaf(masked_option(str(path[-1]) if path else "", self.value(node, path)), source)

    def value(self, node: Node, path: tuple[Key, ...]) -> Any:
        rendered = self.loaded.tree.find(path).value
        if not (isinstance(node.value, str) and isinstance(rendered, str) and self.is_path(rendered, path)):
            return node.plain()
        if not has_template(node.value):
            return self.moved(self.loaded.path_from(rendered, *path))
        return node.value if rendered.startswith(("/", "~")) else f"{node.place.folder}/{node.value}"

    def is_path(self, text: str, path: tuple[Key, ...]) -> bool:
        match path:
            case ("model",) | ("components", _):
                return reference(self.loaded, text, *path).kind == "path"
            case ("datasets", _, "images" | "conditioning") | ("launch", "python") | ("workspace",):
                return bool(text)
            case ("args", name, *_) if name in self.paths:
                return text.startswith(("./", "../", "~")) or os.path.exists(self.loaded.path_from(text, *path))
            case _:
                return False


def _add_defaults(tree: Any, values: Any) -> None:
    """What the recipe leaves to the runner; another version may have other defaults."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(tree, dict) and key not in tree:
            made = _defaults(value)
            if made not in (None, {}):
                tree[key] = made
        elif isinstance(value, (dict, list)) and type(tree[key]) is type(value):
            _add_defaults(tree[key], value)


def _defaults(value: Any) -> _Tree | None:
    if isinstance(value, dict):
        return {key: made for key, child in value.items() if (made := _defaults(child)) not in (None, {})}
    if isinstance(value, list):
        return [_Leaf(one, DEFAULT) for one in value] or None
    return None if value is None or value == "" else _Leaf(value, DEFAULT)


def _lines(tree: _Tree, pad: str) -> Iterator[str]:
    if isinstance(tree, list):
        for child in tree:
            first, *rest = [f"{pad}  {_leaf(child)}"] if isinstance(child, _Leaf) else _lines(child, f"{pad}  ")
            yield f"{pad}- {first[len(pad) + 2 :]}"
            yield from rest
    elif isinstance(tree, dict):
        for key, child in tree.items():
            if isinstance(child, _Leaf):
                yield f"{pad}{scalar(key)}: {_leaf(child)}"
            else:
                yield f"{pad}{scalar(key)}:"
                yield from _lines(child, f"{pad}  ")


def _leaf(leaf: _Leaf) -> str:
    return f"{scalar(leaf.value)}  # {leaf.source}"
