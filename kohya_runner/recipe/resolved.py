"""A recipe as one file that launches the same run again, on any machine: each value, and where it came from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kohya_runner.recipe.models import reference
from kohya_runner.recipe.template import has_template
from kohya_runner.text import masked_option, masked_text, plain
from kohya_runner.yamlio import Key, Node, scalar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from kohya_runner.recipe.load import Loaded

DEFAULT = "default of kohya-runner"


class _Leaf(NamedTuple):
    value: Any
    source: str


_Tree: TypeAlias = "_Leaf | dict[str, _Tree] | list[_Tree]"


def resolved_recipe(loaded: Loaded, paths: Collection[str], title: str, added: Sequence[str]) -> str:
    """The text of ``recipe.yaml``. ``paths`` are options that name files, ``added`` what the runner passes besides.

    A variable stays as it was written, so that no value of the environment gets into the file.
    """
    reader = _Reading(loaded, paths)
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
    """A recipe being read with absolute paths."""

    loaded: Loaded
    paths: Collection[str]

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
            return str(self.loaded.path_from(rendered, *path))
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
