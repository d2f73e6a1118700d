"""What was meant by a key that a recipe does not have: an option of the trainer, or a key of another place."""

from __future__ import annotations

from kohya_runner.engines import table
from kohya_runner.engines.support import Support
from kohya_runner.engines.table import ENGINES, options_for
from kohya_runner.recipe.validate import fields_at, meant_key, recipe_key, shown_value, written
from kohya_runner.text import nearest
from kohya_runner.yamlio import Key, Node, dotted


def advice(tree: Node, path: tuple[Key, ...]) -> str:
    """The line to write, "" where nothing comes close."""
    name, node = str(path[-1]), tree.find(path)
    support = meant_support(_word(tree, "family"), _word(tree, "method") or "lora")
    options = options_for(support.script, None) if support else None
    option = options.known_as(name) if options else None
    known = fields_at(path[:-1])
    if support and path[0] == "datasets" and len(path) == 3:
        own = ENGINES[support.engine].own_options(support, {name: node.plain()})
        if own not in ("", "{}"):
            line = f"write datasets.{path[1]}.options: {{{name}: {shown_value(node.plain())}}}"
            return f"{name} is an option of the trainer: {line}" + (f", or args.{option} for all" if option else "")
    if option:
        return f"{option} is an option of the trainer: {written(node, dotted(path), f'args.{option}')}"
    if close := nearest(name, known):
        return meant_key(node, path, close)
    if place := recipe_key(name):
        return written(node, dotted(path), place)
    meant = options.nearest(name) if options else None
    return f"did you mean the trainer's '{meant}'? {written(node, dotted(path), f'args.{meant}')}" if meant else ""


def _word(tree: Node, key: str) -> str:
    node = tree.child(key)
    return node.value if node is not None and isinstance(node.value, str) else ""


def meant_support(family: str, method: str) -> Support | None:
    """The row that a misspelt family or method most likely means, so that the options can be read by it."""
    family = nearest(family, table.families()) or ""
    known = table.methods(family)
    return table.find(family, nearest(method, known) or next(iter(known), ""))
