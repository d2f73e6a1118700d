"""The JSON Schema of recipes, for editors: the models, plus the trainer's options as completions under ``args``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.table import options_for
from kohya_runner.options.values import COMMA_JOINED
from kohya_runner.recipe.models import Recipe

if TYPE_CHECKING:
    from kohya_runner.options.script_options import Option

_TYPES = {
    "str": ["string", "number"],
    "int": ["integer"],
    "float": ["number"],
    "int_or_float": ["number", "string"],
    "whole_or_float": ["number", "string"],
    "path": ["string"],
}


def recipe_schema() -> dict[str, Any]:
    """Draft 2020-12; ``extends`` makes every key optional, because a base may hold it."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "kohya-runner recipe"
    schema.pop("required", None)
    schema["properties"]["family"]["enum"] = list(table.families())
    schema["properties"]["method"]["enum"] = sorted({row.method for row in table.FAMILIES})
    schema["properties"]["args"] = {
        "type": "object",
        "description": "options of the trainer under their own names",
        "properties": _args(),
        "additionalProperties": False,
    }
    return schema


def _args() -> dict[str, Any]:
    """Every option of every supported script; where scripts differ, the first row of the table describes it."""
    known: dict[str, Option] = {}
    for row in table.FAMILIES:
        for option in options_for(row.script, None).values():
            known.setdefault(option.name, option)
    components = {component.name for row in table.FAMILIES for component in row.components}
    return {name: _property(known[name]) for name in sorted(known.keys() - OWNED.keys() - components)}


def _property(option: Option) -> dict[str, Any]:
    if option.kind == "switch":
        return {"type": ["boolean", "null"]}
    if option.kind == "many":
        return {"type": ["array", "object", "string", "number", "null"]}
    if option.choices:
        return {"enum": [*option.choices, *(() if None in option.choices else (None,))]}
    lists = ["array"] if option.name in COMMA_JOINED else []
    return {"type": [*_TYPES[option.type], *lists, "null"]}


def schema_text() -> str:
    """The schema as the file docs/recipe.schema.json holds it."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"
