"""Every code of a finding, found in the package's own sources, so that the list cannot fall behind."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = (
    "recipe", "args", "dataset", "image", "caption", "steps", "model", "hub", "disk", "memory", "device", "trainer",
    "budget",
)  # fmt: skip
SEVERITIES = ("error", "warning", "info")
CODE = re.compile(rf"({'|'.join(STAGES)})\.[a-z0-9_]+")
FILE_NAMES = re.compile(r".*\.(json|log|safetensors|py|yaml|toml|txt)")
PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Code:
    """One code, the severities it is said with, and the modules that say it."""

    name: str
    severities: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def stage(self) -> str:
        return self.name.partition(".")[0]


@cache
def find_codes(package: Path = PACKAGE) -> tuple[Code, ...]:
    """The codes of all modules, in the order of the stages of a run."""
    seen: dict[str, tuple[set[str], set[str]]] = {}
    for path in sorted(package.rglob("*.py")):
        for name, severities in _in_module(ast.parse(path.read_text(encoding="utf-8"))):
            said, where = seen.setdefault(name, (set(), set()))
            said |= severities
            where.add(path.relative_to(package).as_posix())
    codes = [Code(name, _in_order(said), tuple(sorted(where))) for name, (said, where) in seen.items() if said]
    return tuple(sorted(codes, key=lambda code: (STAGES.index(code.stage), code.name)))


def _in_order(severities: set[str]) -> tuple[str, ...]:
    return tuple(name for name in SEVERITIES if name in severities)


def _in_module(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for function in functions.values():
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            for argument in call.args:
                for name in _names(argument):
                    yield name, _severities(call, function, functions)


def _names(node: ast.expr) -> Iterator[str]:
    """Codes in an argument: a text, a text with one part left open, or either of two texts."""
    match node:
        case ast.Constant(value=str(text)) if CODE.fullmatch(text) and not FILE_NAMES.fullmatch(text):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), ast.FormattedValue(value=ast.Name(id=what))]):
            if text.rstrip(".") in STAGES:
                yield f"{text}<{what}>"
        case ast.IfExp(body=first, orelse=second):
            yield from _names(first)
            yield from _names(second)
        case _:
            return


def _severities(call: ast.Call, inside: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """By the name of what is called, else by what the called or the surrounding function calls."""
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    if called in SEVERITIES:
        return {called}
    if called in functions and (found := _mentioned(functions[called])):
        return found
    return _mentioned(inside)


def _mentioned(function: ast.FunctionDef) -> set[str]:
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & set(SEVERITIES)
