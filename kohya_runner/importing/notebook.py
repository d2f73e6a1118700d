"""The cells of a notebook as one shell script: its commands, and the Python variables that are literals."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

_ASSIGNED = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*(?::\s*\w+\s*)?=\s*(?P<value>[^=].*?)\s*(?:#\s*@param.*)?$")
_ENV = re.compile(r"^%(?:set_)?env\s+(\w+)[=\s](.*)$|^os\.environ\[['\"](\w+)['\"]\]\s*=\s*(.*)$")
_BRACES = re.compile(r"(?<!\$)\{(\w+)\}")


def script_of(cells: Iterable[Mapping[str, Any]]) -> str:
    """One script; lines of Python that are neither literal assignments nor commands are left out."""
    lines: list[str] = []
    for cell in cells:
        source = cell.get("source") or ""
        text = source if isinstance(source, str) else "".join(source)
        if cell.get("cell_type", "code") == "code":
            lines += _cell(text)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> Iterator[str]:
    if re.match(r"\s*%%(?:bash|sh|shell|script)", text):
        yield from text.lstrip().split("\n")[1:]
        return
    joined = re.sub(r"\\[ \t]*\n", "\\\n", text)
    going = False
    for line in joined.split("\n"):
        if going or line.lstrip().startswith("!"):
            going = line.endswith("\\")
            yield _BRACES.sub(r"${\1}", line.lstrip().removeprefix("!") if line.lstrip().startswith("!") else line)
        elif found := _ENV.match(line.strip()):
            name, value = found[1] or found[3], found[2] or found[4] or ""
            yield f"export {name}={shlex.quote(value)}"
        elif found := _ASSIGNED.match(line.strip()):
            yield _assignment(found["name"], found["value"])


def _assignment(name: str, value: str) -> str:
    """A literal as the shell gets it; anything else is computed."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = ast.literal_eval(value)
        if isinstance(found, (str, int, float, bool)):
            return f"{name}={shlex.quote(str(found))}"
    return f"{name}=$(computed in Python)"
