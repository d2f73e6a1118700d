"""Pydantic's verdict on a recipe, in our words and with the place of every fault."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_origin

from pydantic import Field, ValidationError

from kohya_runner.findings import Finding, error
from kohya_runner.recipe import models
from kohya_runner.recipe.keys import PEOPLE_SAY, WORDS, choices, field_at, fields_at, meant_field
from kohya_runner.safe_files import special
from kohya_runner.text import MASK, SECRET, has_control, masked_option, nearest, shortened
from kohya_runner.yamlio import Key, Node, dotted, scalar

_WRITE: Mapping[str, str] = WORDS["write"]
_EXAMPLES: Mapping[str, str] = WORDS["examples"]
_BOOLS: Mapping[str, str] = WORDS["bools"]
_CHOICES: Mapping[str, str] = WORDS["choices"]
MAX_ADVICE = 50
"""Unknown keys that get a suggestion: to compare names takes time, and nobody reads thousands."""
MAX_NAME = 100


Advice = Callable[[Node, tuple[Key, ...]], str]
"""What to write instead of a key that there is not: "" where nothing is known."""


class OfPrompts(models.Recipe):
    """A run of a method that reads no pictures."""

    datasets: tuple[models.Dataset, ...] = Field((), strict=False, max_length=0)


WITHOUT_DATASETS = ("leco",)


def validate(tree: Node, advice: Advice) -> tuple[models.Recipe | None, tuple[Finding, ...]]:
    """The recipe, and every fault in it; a key that is null counts as not written."""
    plain = _without_nulls(tree.plain())
    try:
        prompts = isinstance(plain, dict) and plain.get("method") in WITHOUT_DATASETS
        kind = OfPrompts if prompts else models.Recipe
        return kind.model_validate(plain), tuple(_controls(tree))
    except ValidationError as fault:
        details = fault.errors(include_url=False)
        said = [detail for detail in details if not _echo(detail, details) and not _misspelt(detail, details)]
        return None, tuple(
            _finding(detail, tree, advice if number < MAX_ADVICE else None) for number, detail in enumerate(said)
        )


_CURLY = "\u201c\u201d\u201e\u2018\u2019"
FREE = ("args", "compare", "captions")
"""Where text may have lines, or has its own check."""


def _controls(tree: Node) -> Iterator[Finding]:
    """Values that become paths, names or arguments and hold what no such text needs."""
    for path, node in tree.leaves():
        if not isinstance(node.value, str) or set(path) & set(FREE):
            continue
        name, what, hint = dotted(path), "", "write plain text in one line"
        if has_control(node.value):
            what = "holds a control character"
        elif node.value and node.value[0] in _CURLY and "samples" not in path:
            what, hint = "has the quotes of a word processor", f"write {name}: {scalar(node.value.strip(_CURLY))}"
        if what:
            yield error("recipe.value", f"{name}: {what}: {shortened(node.value)}", where=str(node.place), hint=hint)


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


def _misspelt(detail: Any, details: list[Any]) -> bool:
    """Whether a key is only missing because its name was misspelt: the other finding says so."""
    *above, name = detail["loc"]
    beside = (one["loc"] for one in details if one["type"] == "extra_forbidden" and list(one["loc"][:-1]) == above)
    return detail["type"] == "missing" and any(meant_field(str(one[-1])[:MAX_NAME], (str(name),)) for one in beside)


def no_advice(_tree: Node, _path: tuple[Key, ...]) -> str:
    return ""


def _without_nulls(value: Any) -> Any:
    """Only null means absent, at every depth but inside ``args`` lists."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def _finding(detail: Any, tree: Node, advice: Advice | None) -> Finding:
    path = _real_path(detail["loc"], tree, missing=detail["type"] == "missing")
    node = tree.find(path)
    kind, name = detail["type"], dotted(path)
    if kind == "extra_forbidden":
        known = fields_at(path[:-1])
        close = meant_field(str(path[-1])[:MAX_NAME], known) if advice else None
        hint = (advice and advice(tree, path)) or (
            meant_key(node, path, close) if close else "keys: " + ", ".join(sorted(known))
        )
        where = str(node.key_place or node.place)
        return error("recipe.unknown_key", f"{name}: there is no such key", where=where, hint=hint)
    if kind == "missing":
        key = str(path[-1])
        example = "FOLDER" if key == "images" else "WORD"
        hint = f"write {_EXAMPLES.get(name, f'{name}: {example}')}"
        if tree.find(path[:-1]).child(key) is None:
            return error("recipe.missing", f"{name}: is missing", where=str(node.place), hint=hint)
        quoted = f'{hint}; a value that begins with # needs quotes: {name}: "#{example}"'
        return error("recipe.missing", f"{name}: has no value", where=str(node.place), hint=quoted)
    what, instead = _words(detail, path, node.plain())
    line = re.fullmatch(rf"write {re.escape(name)}: (\{{.*\}}|\[.*\]|\S+?)([ ,;].*)?", instead)
    if line and node.place.by_user:
        instead = f"write --set {shlex.quote(f'{name}={line[1]}')}{line[2] or ''}"
    return error("recipe.value", f"{name}: {what}", where=str(node.place), hint=instead)


def meant_key(node: Node, path: tuple[Key, ...], meant: str) -> str:
    """Which key of the same place was meant, as the line to write."""
    return f"did you mean '{meant}'? {written(node, dotted(path), dotted((*path[:-1], meant)))}"


def written(node: Node, old: str, key: str) -> str:
    """The line that has a value under another key than its old one; on a command line the option."""
    inner = next(leaf for _, leaf in node.leaves()) if node.place.by_user else node  # --set a.b=1 holds a mapping
    value = masked_option(key.rpartition(".")[2], inner.plain())
    secret = old.rpartition(".")[2] not in PEOPLE_SAY and any(map(SECRET.search, (old, key)))
    if isinstance(value, str) and secret:
        value = MASK
    listed = get_origin(field_at(tuple(key.split(".")))) is tuple
    value = [value] if listed and isinstance(node.value, (str, int, float)) else value
    if node.place.by_user:
        line = inner.place.source.replace(f"--set {old}", f"--set {key}", 1)
        return f"write {line}={'VALUE' if value == MASK else shown_value(value)}"
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = any(isinstance(one, (dict, list)) for one in inside)
    return f"write it under {key}:" if value is None or nested else f"write {key}: {shown_value(value)}"


def shown_value(value: Any) -> str:
    """A scalar, or a list or mapping of them, as a recipe has it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {scalar(one)}' for key, one in value.items())}}}"
    return f"[{', '.join(map(scalar, value))}]" if isinstance(value, list) else scalar(value)


def _words(detail: Any, path: tuple[Key, ...], value: Any) -> tuple[str, str]:
    """What is wrong with a value, and the line to write."""
    kind, context, name = detail["type"], detail.get("ctx") or {}, dotted(path)
    if kind in _WRITE:
        instead = _mapping(path, value) if _WRITE[kind].endswith("mapping") else _corrected(kind, value)
        line = f"write {name}: {instead}" if instead else f"{_WRITE[kind].replace('must be', 'write')} after {name}:"
        return _WRITE[kind], "begin each entry with a dash: - images: FOLDER" if name == "datasets" else line
    if kind == "literal_error":
        return "is not one of the choices", f"write {name}: {_choice(value, choices(field_at(path)))}"
    if kind == "too_long" and name == "datasets":
        return "this method trains without pictures", "leave datasets out"
    if kind == "value_error":
        return str(context.get("error")), _named(name, value)
    if kind in ("greater_than_equal", "less_than_equal"):
        limit, more = (context["ge"], "more") if kind[0] == "g" else (context["le"], "less")
        return f"must be {limit:g} or {more}", f"write {name}: {limit:g}, or {more}"
    return str(detail["msg"]).replace("Input should", "must").replace("input", "value"), ""


def _choice(value: Any, choices: tuple[Any, ...]) -> str:
    """The one that was most likely meant, as a recipe has it, and the others."""
    texts, said = [scalar(one) for one in choices], scalar(value).strip('"').lower()
    best = _CHOICES[said] if _CHOICES.get(said) in texts else nearest(said, texts) or texts[0]
    return f"{best} (or {', '.join(one for one in texts if one != best)})"


def _mapping(path: tuple[Key, ...], value: Any) -> str:
    """What to write in place of a single value where a mapping belongs."""
    for name, field in fields_at(path).items() if isinstance(value, str) else ():
        texts = [str(one) for one in choices(field.annotation)]
        if meant := nearest(value, texts):
            return f"{{{name}: {meant}}}"
    told: Mapping[str, str] = WORDS["mappings"]
    return told.get(f"{path[-1]} {scalar(value)}") or told.get(str(path[-1]), "")


def _named(name: str, value: Any) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", str(value).rpartition("/")[2]).strip("_.-") if name == "name" else ""
    page = re.match(r"https?://[^/]+/([\w.-]+/[\w.-]+)", str(value)) if name.startswith("finish.publish") else None
    told = page[1] if page else WORDS["faults"].get(name.rpartition(".")[2], "")
    return f"write name: {plain}" if models.NAME.match(plain) else f"write {name}: {told}" if told else ""


def _corrected(kind: str, value: Any) -> str:
    """The value that was meant, as a recipe has it; "" where that is not known."""
    if kind == "bool_type" and str(value).lower() in _BOOLS:
        return _BOOLS[str(value).lower()]
    if kind.startswith(("int", "float")) and (found := re.match(r"\s*[$€£]?\s*(\d+(?:[.,]\d+)?)\s*(m?)", str(value))):
        number = found[1].replace(",", ".")
        return number.partition(".")[0] if kind.startswith("int") else f"{float(number) / 60:g}" if found[2] else number
    if kind == "string_type" and isinstance(value, list) and all(isinstance(one, int) for one in value):
        return "x".join(map(str, value))
    if kind == "string_type" and isinstance(value, (int, float)):
        return f'"{str(value).lower() if isinstance(value, bool) else value}"'
    return f"[{scalar(value)}]" if kind in ("tuple_type", "list_type") and isinstance(value, (str, int, float)) else ""


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


def special_files(tree: Node) -> tuple[Finding, ...]:
    """An error for each value that names a pipe, a device or a file of the kernel: nothing is opened then."""
    found = []
    for path, node in tree.leaves():
        if isinstance(node.value, str) and node.value != os.devnull:
            odd = special(node.place.folder / os.path.expanduser(node.value))  # noqa: PTH111 - ~nobody raises nothing
            message, hint = f"{dotted(path)}: {node.value} {odd}", "name a file or a folder"
            found += [error("recipe.value", message, where=str(node.place), hint=hint)] if odd else []
    return tuple(found)
