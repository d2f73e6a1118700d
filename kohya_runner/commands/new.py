"""Which recipe keys there are: a commented recipe that plans as it stands, and the JSON Schema, for editors."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

from kohya_runner import safe_files
from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.table import options_for
from kohya_runner.errors import UsageError
from kohya_runner.options.values import COMMA_JOINED
from kohya_runner.recipe.models import NAME, Recipe
from kohya_runner.recipe.starter import starter, starter_file
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.options.script_options import Option

PAIRS = "metadata.jsonl"
"""The list of edit pairs that a folder of pictures may hold (docs/edit.md)."""


def write(name: str, family: str, images: Path, output: Path) -> str:
    """Write the recipe and say so; an existing file is left alone.

    Raises:
        UsageError: a name that is no file name, an unknown family, a folder or file that is in the way.
    """
    row = table.find(family, "lora")
    if row is None:
        raise UsageError(f"--family {family}: not supported", hint=did_you_mean(family, table.families()))
    if not NAME.match(name):
        raise UsageError(f"{name}: a name has letters, digits, '.', '_' and '-' only")
    if not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder")
    if output.exists():
        raise UsageError(f"{output} exists and is left as it is", hint="choose another --output")
    file = starter_file(family, row.recipe)
    relative = os.path.relpath(images.absolute(), output.absolute().parent)
    pairs = (images / PAIRS).is_file() and PAIRS in file.read_text(encoding="utf-8")
    where = shlex.quote(str(output))
    text = starter(file, name=name, images=f"{relative}/{PAIRS}" if pairs else relative, output=where)
    try:
        safe_files.write_text(output, text)
    except OSError as fault:
        raise UsageError(f"{output}: {fault.strerror or fault}", hint="choose another --output") from None
    return f"wrote {output}; next: kohya-runner plan {where}"


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
