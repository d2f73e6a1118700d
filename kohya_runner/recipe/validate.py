"""Pydantic's verdict on a recipe, in our words and with the place of every fault."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from kohya_runner.findings import Finding, error
from kohya_runner.recipe import finish, models
from kohya_runner.recipe.finish import Budget
from kohya_runner.text import did_you_mean, has_control, shortened
from kohya_runner.yamlio import Key, Node, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WRITE: Mapping[str, tuple[str, str]] = {
    "missing": ("is missing", "add it"),
    "string_type": ("must be text", "put it in quotes"),
    "int_type": ("must be a whole number", "write it without quotes and without a point"),
    "int_from_float": ("must be a whole number", "write it without a fraction"),
    "float_type": ("must be a number", "write it without quotes"),
    "bool_type": ("must be true or false", "write true or false, without quotes"),
    "tuple_type": ("must be a list", "write [a, b] or one '- entry' per line"),
    "list_type": ("must be a list", "write [a, b] or one '- entry' per line"),
    "dict_type": ("must be a mapping", "write key: value, one per line"),
    "model_type": ("must be a mapping", "write key: value, one per line"),
    "model_attributes_type": ("must be a mapping", "write key: value, one per line"),
}


MAX_ADVICE = 50
"""Unknown keys that get a suggestion: to compare names takes time, and nobody reads thousands."""
MAX_NAME = 100


def validate(tree: Node) -> tuple[models.Recipe | None, tuple[Finding, ...]]:
    """The recipe, and every fault in it; a key that is null counts as not written."""
    plain = _without_nulls(tree.plain())
    try:
        return models.Recipe.model_validate(plain), (*_not_yet(tree), *_controls(tree))
    except ValidationError as fault:
        details = fault.errors(include_url=False)
        said = [detail for detail in details if not _echo(detail, details)]
        found = [_finding(detail, tree, advise=number < MAX_ADVICE) for number, detail in enumerate(said)]
        later = _not_yet(tree)
        known = {f.where for f in later}
        return None, (*later, *(f for f in found if f.where not in known))


FREE = ("args", "compare", "captions")
"""Where text may have lines, or has its own check."""


def _controls(tree: Node) -> Iterator[Finding]:
    """Values that become paths, names or arguments and hold what no such text needs."""
    for path, node in tree.leaves():
        if isinstance(node.value, str) and has_control(node.value) and not set(path) & set(FREE):
            message = f"{dotted(path)}: holds a control character: {shortened(node.value)}"
            yield error("recipe.value", message, where=str(node.place), hint="write plain text in one line")


def readable_datasets(tree: Node) -> dict[int, models.Dataset]:
    """The entries of ``datasets`` that are right in themselves, whatever else is wrong."""
    node = tree.child("datasets")
    found: dict[int, models.Dataset] = {}
    for index, child in enumerate(node.value if node is not None and isinstance(node.value, tuple) else ()):
        with contextlib.suppress(ValidationError):
            found[index] = models.Dataset.model_validate(_without_nulls(child.plain()))
    return found


def _echo(detail: Any, details: list[Any]) -> bool:
    """Whether a list is only called too short because its entries were refused."""
    location = detail["loc"]
    if detail["type"] != "too_short":
        return False
    return any(len(other["loc"]) > len(location) and other["loc"][: len(location)] == location for other in details)


def _without_nulls(value: Any) -> Any:
    """Only null means absent, at every depth but inside ``args`` lists."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def _not_yet(tree: Node) -> tuple[Finding, ...]:
    findings = []
    for path, what in models.NOT_YET.items():
        for node in _matching(tree, path.split(".")):
            message = f"{path.replace('*', 'N')}: {what} is not built yet"
            findings.append(
                error(
                    "recipe.not_yet",
                    message,
                    where=str(node.key_place or node.place),
                    hint="leave the key out",
                )
            )
    return tuple(findings)


def _matching(node: Node, keys: list[str]) -> list[Node]:
    if not keys:
        return [] if node.value is None or node.value is False else [node]
    if keys[0] == "*":
        return [
            hit for child in (node.value if isinstance(node.value, tuple) else ()) for hit in _matching(child, keys[1:])
        ]
    child = node.child(keys[0])
    return [] if child is None else _matching(child, keys[1:])


def _finding(detail: Any, tree: Node, *, advise: bool) -> Finding:
    path = _real_path(detail["loc"], tree, missing=detail["type"] == "missing")
    node = tree.find(path)
    kind, name = detail["type"], dotted(path)
    if kind == "extra_forbidden":
        names = tuple(_fields_at(path[:-1]))
        return error("recipe.unknown_key", f"{name}: there is no such key", where=str(node.key_place or node.place),
                     hint=did_you_mean(str(path[-1])[:MAX_NAME], names) if advise else "")  # fmt: skip
    what, instead = _words(detail)
    return error(
        "recipe.missing" if kind == "missing" else "recipe.value",
        f"{name}: {what}",
        where=str(node.place),
        hint=instead,
    )


def _words(detail: Any) -> tuple[str, str]:
    if detail["type"] in _WRITE:
        return _WRITE[detail["type"]]
    context = detail.get("ctx") or {}
    if detail["type"] == "literal_error":
        return "is not one of the choices", f"write {context.get('expected')}"
    if detail["type"] == "value_error":
        return str(context.get("error")), ""
    text = str(detail["msg"])
    return text.replace("Input should", "must").replace("input", "value"), ""


def _real_path(location: tuple[Key, ...], tree: Node, *, missing: bool) -> tuple[Key, ...]:
    """Pydantic's location without the tags of its unions."""
    path: list[Key] = []
    node = tree
    for index, key in enumerate(location):
        child = node.child(key)
        if child is not None:
            path.append(key)
            node = child
        elif missing and index == len(location) - 1:
            path.append(key)
    return tuple(path)


def _fields_at(path: tuple[Key, ...]) -> list[str]:
    """The keys allowed at a place of the recipe."""
    model: Any = models.Recipe
    for key in path:
        if isinstance(key, int):
            continue
        model = _BELOW.get((model, key), model)
    return list(model.model_fields)


_BELOW: Mapping[tuple[type[BaseModel], str], type[BaseModel]] = {
    (models.Recipe, "datasets"): models.Dataset,
    (models.Dataset, "captions"): models.Captions,
    (models.Recipe, "launch"): models.Launch,
    (models.Recipe, "compare"): models.Compare,
    (models.Recipe, "model"): models.RandomModel,
    (models.Recipe, "budget"): Budget,
    (models.Recipe, "finish"): finish.Finish,
    (finish.Finish, "notify"): finish.Notify,
}
