"""``kohya-runner new``: a commented recipe that plans as it stands."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from kohya_runner import safe_files
from kohya_runner.engines import table
from kohya_runner.errors import UsageError
from kohya_runner.recipe.models import NAME
from kohya_runner.recipe.starter import starter, starter_file
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

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
