"""A YAML document as values that know where they were written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
        """``file:line:column``, or the source alone."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Node:
    """One value with its place; ``key_place`` is where its key stands in a mapping."""

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    place: Place
    key_place: Place | None = None

    def plain(self) -> Plain:
        """The value as ordinary lists, mappings and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, key: Key) -> Node | None:
        """The child under a mapping key or a list index."""
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
