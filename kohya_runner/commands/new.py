"""Which recipe keys there are: a commented recipe that plans as it stands, and the JSON Schema, for editors."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from kohya_runner import safe_files
from kohya_runner.dataset.facts import IMAGE_FORMATS
from kohya_runner.dataset.first_look import look
from kohya_runner.dataset.folder_checks import OTHER_PICTURES
from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.method_data import PAIRED
from kohya_runner.engines.table import options_for
from kohya_runner.errors import UsageError
from kohya_runner.options.script_options import Option
from kohya_runner.options.values import COMMA_JOINED
from kohya_runner.plan.data import tokenizer_places
from kohya_runner.plan.starting import Pictures, choose, drawn
from kohya_runner.recipe.load import load
from kohya_runner.recipe.models import NAME, Recipe
from kohya_runner.recipe.starter import starter, starter_file
from kohya_runner.run import views
from kohya_runner.text import did_you_mean


def write(name: str, family: str, images: Path, output: Path) -> str:
    """Write the recipe and say so; an existing file is left alone.

    Raises ``UsageError``: a name that is no file name, an unknown family, a folder or file that is in the way.
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
    parts = look(images, name)
    if not any(part.survey.scan.images or part.survey.edit for part in parts):
        others = sorted({path.suffix.lower() for part in parts for path in part.survey.scan.strays} & OTHER_PICTURES)
        hint = f"{', '.join(others)}: kohya-runner dataset prepare {shlex.quote(str(images))} --output DIR"
        text = f"--images {images}: no picture ({', '.join(IMAGE_FORMATS)}) in it or in the folders below it"
        raise UsageError(text, hint=hint if others else "name the folder that holds the pictures")
    if row.data not in PAIRED and any(part.survey.edit is not None for part in parts):
        rows = " or ".join(f"--family {one.family}" for one in table.FAMILIES if one.data in PAIRED and one.is_lora)
        raise UsageError(f"{images} holds edits, and LoRAs of {row.title} learn from pictures with captions", hint=rows)
    own = starter_file(family, row.recipe)
    art = own.with_name(f"pixel_art_{family}.yaml")
    file = art if art.is_file() and drawn(parts) else own
    where, here = shlex.quote(str(output)), output.absolute().parent
    folders = [path for part in parts for path in (part.images, part.conditioning) if path is not None]
    shown = {path: os.path.relpath(path.absolute(), here) for path in folders}
    native = int(str(load(own, environ={}).args.get("resolution", 1024)).partition(",")[0])
    filled = choose(
        row, load(file, environ={}).args, Pictures(parts, shown, native, tokenizer_places(views.workspace(None), None))
    )
    text = starter(file, filled, name=name, output=where)
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
    known: dict[str, Option] = {}  # where scripts differ, the first row of the table describes an option
    for row in table.FAMILIES:
        for option in options_for(row.script, None).values():
            known.setdefault(option.name, option)
    components = {component.name for row in table.FAMILIES for component in row.components}
    schema["properties"]["args"] = {
        "type": "object",
        "description": "options of the trainer under their own names",
        "properties": {name: _property(known[name]) for name in sorted(known.keys() - OWNED.keys() - components)},
        "additionalProperties": False,
    }
    return schema


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
