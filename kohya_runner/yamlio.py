"""The only place that knows the YAML library: text in, a tree with positions and a list of problems out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from kohya_runner.findings import Finding, error
from kohya_runner.slips import colour, slip

Scalar: TypeAlias = "bool | int | float | str | None"
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"
Key: TypeAlias = "str | int"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written. ``folder`` is what its relative paths are relative to."""

    source: str  # a file's path as the user would type it, or "--set args.network_dim=32"
    folder: Path
    line: int = 0  # from 1; 0 where there are no lines
    column: int = 0
    by_user: bool = False  # on the command line: not a stranger's, whatever the source is called

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Node:
    """One value with its place; ``key_place`` is where its key stands in a mapping."""

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    place: Place
    key_place: Place | None = None

    def plain(self) -> Plain:
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, key: Key) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, tuple) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None

    def find(self, path: tuple[Key, ...]) -> Node:
        """The node at ``path``, or the deepest node on the way there."""
        node = self
        for key in path:
            child = node.child(key)
            if child is None:
                return node
            node = child
        return node

    def is_by_user(self, path: tuple[Key, ...]) -> bool:
        """Whether the value at ``path``, to its last part, is of the command line."""
        node = self
        for key in path:
            child = node.child(key)
            if child is None:
                return False
            node = child
        return all(leaf.place.by_user for _, leaf in node.leaves())

    def leaves(self, path: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], Node]]:
        """Every scalar below, with its path; an empty list or mapping counts as one."""
        if isinstance(self.value, dict) and self.value:
            for key, child in self.value.items():
                yield from child.leaves((*path, key))
        elif isinstance(self.value, tuple) and self.value:
            for index, child in enumerate(self.value):
                yield from child.leaves((*path, index))
        else:
            yield path, self

    def map_scalars(self, change: Callable[[tuple[Key, ...], Node], Node], path: tuple[Key, ...] = ()) -> Node:
        """The same tree with every scalar node passed through ``change``."""
        if isinstance(self.value, dict):
            items = {key: child.map_scalars(change, (*path, key)) for key, child in self.value.items()}
            return replace(self, value=items)
        if isinstance(self.value, tuple):
            parts = tuple(child.map_scalars(change, (*path, i)) for i, child in enumerate(self.value))
            return replace(self, value=parts)
        return change(path, self)


def merge(base: Node, over: Node) -> Node:
    """``over`` laid on ``base``: mappings merge key by key, everything else replaces."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return replace(over, value=merged)


def dotted(path: tuple[Key, ...]) -> str:
    """``('datasets', 0, 'images')`` as ``datasets.0.images``."""
    return ".".join(str(key) for key in path)


MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_SIGNS = 50_000
"""Colons, commas and line breaks: what a scanner in Python reads in 2 s. The largest recipe here has 300."""
MAX_DEPTH = 50
_TAG = "tag:yaml.org,2002:"
_KEPT_AS_TEXT = frozenset({"str", "timestamp", "value", "merge"})


class _Reader:
    """Walks the composed nodes of one document; aliases are followed, but not without end."""

    def __init__(self, text: str, source: str, folder: Path) -> None:
        self.lines = text.splitlines()
        self.source, self.folder = source, folder
        self.problems: list[Finding] = []
        self.count = 0
        self.yaml = _parser()

    def place(self, node: Any) -> Place:
        mark = node.start_mark
        return Place(self.source, self.folder, mark.line + 1, mark.column + 1)

    def problem(self, place: Place, message: str, hint: str) -> None:
        self.problems.append(error("recipe.syntax", message, where=str(place), hint=hint))

    def read(self, node: Any, depth: int = 0, key: Place | None = None) -> Node:
        self.count += 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            raise _TooLargeError
        place = self.place(node)
        if isinstance(node, MappingNode):
            return Node(self._mapping(node, depth), place, key)
        if isinstance(node, SequenceNode):
            for child in node.value:
                self._hidden(child, child)
            return Node(tuple(self.read(child, depth + 1) for child in node.value), place, key)
        return Node(self._scalar(node, place), place, key)

    def _mapping(self, node: Any, depth: int) -> dict[str, Node]:
        items: dict[str, Node] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, ScalarNode):
                self.problem(place, "a key must be a plain word", "write key: value")
                continue
            key = str(key_node.value)
            if key in items:
                first = items[key].key_place
                where = f"line {first.line}" if first else "above"
                text = f"the key '{key}' stands here a second time (first in {where})"
                self.problem(place, text, "keep one of the two")
                continue
            child = self.read(value_node, depth + 1, place)
            if child.value is None and not value_node.value:  # the library says where the next key begins
                end = key_node.end_mark
                child = replace(child, place=replace(place, line=end.line + 1, column=end.column + 2))
            items[key] = child
            self._hidden(value_node, key_node)
        return items

    def _hidden(self, node: Any, before: Any) -> None:
        """A colour that YAML took for a comment, and so no value, or a part of one, for the whole."""
        mark = node.end_mark if node.value else before.end_mark
        if not isinstance(node, ScalarNode) or node.style is not None or mark.line >= len(self.lines):
            return
        line = self.lines[mark.line]
        found = colour(node.value, line[mark.column :] if node.value else line[mark.column :].lstrip(" :-"))
        if found:
            whole, column = f"{node.value} {found}".strip(), line.rindex(found) + 1
            place = Place(self.source, self.folder, mark.line + 1, column)
            self.problem(place, f"'{found}' is read as a comment", f'put the whole value in quotes: "{whole}"')

    def _scalar(self, node: Any, place: Place) -> Scalar:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in _KEPT_AS_TEXT:
            text = str(node.value)
            if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):  # no argument of a process
                self.problem(place, "holds a NUL or half a character", "take it out: no file or argument can hold it")
                return ""
            return text
        if kind not in {"null", "bool", "int", "float"}:
            self.problem(place, f"the tag '{node.tag}' is not allowed in a recipe", "write the plain value")
            return None
        value: Scalar = self.yaml.constructor.construct_object(node)
        return value


class _TooLargeError(Exception):
    """More nodes, or deeper ones, than any recipe has."""


def _parser() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # found and reported by _Reader, with both positions
    return yaml


def parse(text: str, source: str, folder: Path) -> tuple[Node | None, tuple[Finding, ...]]:
    """The document as a tree (None where it could not be read) and every problem found on the way.

    YAML 1.2: ``1e-4`` is a number, ``on`` is text, ``010`` is ten. Tags, recursive aliases and documents of absurd
    size are refused; nothing in the text can run anything.
    """
    top = Place(source, folder, 1, 1)
    if len(text) > MAX_BYTES:
        return None, (error("recipe.syntax", f"larger than {MAX_BYTES} bytes; this is not a recipe", where=str(top)),)
    if sum(map(text.count, ":,\n")) > MAX_SIGNS:
        return None, (error("recipe.syntax", "too many keys and values; this is not a recipe", where=str(top)),)
    reader = _Reader(text, source, folder)
    try:
        document = _parser().compose(StringIO(text))
        node = None if document is None else reader.read(document)
    except MarkedYAMLError as fault:
        return None, (_syntax(fault, text, top),)
    except (YAMLError, ValueError) as fault:
        first = (str(fault).strip().splitlines() or ["unknown"])[0]
        return None, (error("recipe.syntax", f"cannot be read as YAML: {first}", where=str(top)),)
    except (_TooLargeError, RecursionError):
        return None, (error("recipe.syntax", "too many or too deeply nested values", where=str(top),
                            hint="aliases (*name) count each time they are used"),)  # fmt: skip
    return node, tuple(reader.problems)


def parse_value(text: str, place: Place) -> Node:
    """A value as ``--set`` gives it: read as YAML, or taken as plain text where that fails."""
    node, problems = parse(text, place.source, place.folder)
    if node is None or problems:
        return Node(text if text.strip() else None, place)
    return _moved(node, place)


_PLAIN = re.compile(r"[A-Za-z/][\w./-]*", re.ASCII)
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTED = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]")


def scalar(value: object) -> str:
    """A value as ``parse`` reads it back; an empty list or mapping too."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return _UNPRINTED.sub(lambda sign: f"\\u{ord(sign.group()):04x}", json.dumps(value, ensure_ascii=False))


def _moved(node: Node, place: Place) -> Node:
    """The same value, all of it at one place."""
    if isinstance(node.value, dict):
        return Node({key: _moved(child, place) for key, child in node.value.items()}, place, place)
    if isinstance(node.value, tuple):
        return Node(tuple(_moved(child, place) for child in node.value), place, place)
    return Node(node.value, place, place)


_BEGUN = ("a simple key", "a quoted scalar", "a block collection")
"""What a fault can be inside of, where that begins in the line that has to be changed."""


def _syntax(fault: MarkedYAMLError, text: str, top: Place) -> Finding:
    mark, context = fault.problem_mark or fault.context_mark, fault.context_mark
    place = replace(top, line=mark.line + 1, column=mark.column + 1) if mark else top
    what = fault.problem or fault.context or "not YAML"
    hint = "indent with spaces, not tabs" if "\\t" in what else "check the indentation, quotes and colons of this line"
    begun = context.line + 1 if context and any(word in (fault.context or "") for word in _BEGUN) else 0
    if "\\t" not in what and (meant := slip(text, place.line, begun, what)):
        place, what, hint = replace(top, line=meant.line, column=meant.column), meant.what, meant.instead
    return error("recipe.syntax", f"not valid YAML: {what}", where=str(place), hint=hint)
