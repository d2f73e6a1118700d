"""Which keys a recipe has, where each stands, and what people call it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from kohya_runner.recipe import models
from kohya_runner.tables import read_table
from kohya_runner.text import nearest
from kohya_runner.yamlio import Key

WORDS = read_table(Path(__file__).with_name("words.toml"))
PEOPLE_SAY: Mapping[str, list[str]] = WORDS["keys"]
OUTSIDE: Mapping[str, str] = WORDS["outside"]
"""What has no place in a recipe, and where it is said."""


def meant_field(name: str, known: Iterable[str]) -> str | None:
    """The key of a place that somebody who wrote ``name`` most likely means."""
    return next((key for key in PEOPLE_SAY.get(name, ()) if key in known), None) or nearest(name, known)


def fields_at(path: tuple[Key, ...]) -> Mapping[str, Any]:
    """The fields of the mapping at a place of the recipe."""
    model: type[BaseModel] = models.Recipe
    for key in path:
        if isinstance(key, str) and key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation) or model
    return model.model_fields


def field_at(path: tuple[Key, ...]) -> Any:
    """The type of the value at a place of the recipe, None where it has no field of its own."""
    found = fields_at(path[:-1]).get(str(path[-1])) if path else None
    return found.annotation if found else None


def _model_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next(filter(None, map(_model_in, get_args(kind))), None)


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of which one must be taken, () for any other type."""
    inner = get_args(kind)
    return inner if get_origin(kind) is Literal else tuple(one for part in inner for one in choices(part))


def _places(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield prefix, model
    for name, field in model.model_fields.items():
        if below := _model_in(field.annotation):
            yield from _places(f"{prefix}{name}.{'0.' if name == 'datasets' else ''}", below)


_PLACES = sorted(_places("", models.Recipe), key=lambda place: place[0].replace(".0", "").count("."))
"""Every mapping of a recipe by the dots before its keys, the outermost first."""


def recipe_key(name: str) -> str:
    """Where in a recipe a key of this name stands, dotted; "" for nowhere."""
    said = (*PEOPLE_SAY.get(name, ()), name)
    return next((f"{place}{key}" for key in said for place, model in _PLACES if key in model.model_fields), "")
