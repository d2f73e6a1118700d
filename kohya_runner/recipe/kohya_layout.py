"""``layout: kohya``: a parent of ``N_concept`` folders becomes one entry of ``datasets`` for each of them."""

from __future__ import annotations

import os
from pathlib import Path

from kohya_runner.text import repeats_and_token
from kohya_runner.yamlio import Node


def folders_of_parents(rendered: Node, written: Node) -> tuple[Node, Node]:
    """Both trees with such entries replaced; ``written`` is the one before variables were."""
    entries, before = rendered.child("datasets"), written.child("datasets")
    if entries is None or before is None or not isinstance(entries.value, tuple) or not isinstance(before.value, tuple):
        return rendered, written
    if not any(entry.child("layout") for entry in entries.value):
        return rendered, written
    names = [_parts(entry) for entry in entries.value]
    return _replaced(rendered, entries, names), _replaced(written, before, names)


Part = tuple[str, dict[str, int | str]]  # what joins the path of images, and the keys that the folder's name gives


def _replaced(tree: Node, entries: Node, names: list[list[Part] | None]) -> Node:
    made: list[Node] = []
    children = entries.value if isinstance(entries.value, tuple) else ()
    for entry, parts in zip(children, names, strict=True):
        if parts is None or not isinstance(entry.value, dict):
            made.append(entry)
            continue
        own = {key: child for key, child in entry.value.items() if key != "layout"}
        images = own["images"]
        for name, said in parts:
            path = Node(f"{str(images.value).rstrip('/')}{name}", images.place, images.key_place)
            keys = {key: Node(value, images.place) for key, value in said.items()}
            made.append(Node({**keys, **own, "images": path}, entry.place, entry.key_place))
    fields = tree.value if isinstance(tree.value, dict) else {}
    datasets = Node(tuple(made), entries.place, entries.key_place)
    return Node({**fields, "datasets": datasets}, tree.place, tree.key_place)


def _parts(entry: Node) -> list[Part] | None:
    """The folders of one entry; the parent itself where it has none; None for an entry that says no layout."""
    layout, images = entry.child("layout"), entry.child("images")
    if layout is None or layout.value != "kohya" or images is None or not isinstance(images.value, str):
        return None
    parent = Path(os.path.abspath(images.place.folder / os.path.expanduser(images.value)))  # noqa: PTH111 - ~nobody raises nothing
    found: list[Part] = []
    for name in _folders(parent):
        repeats, token = repeats_and_token(name)
        if repeats:
            found.append((f"/{name}", {"concept": token or name, "repeats": repeats}))
    return found or [("", {"concept": parent.name or "subject"})]


def _folders(parent: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
    except OSError:
        return []
