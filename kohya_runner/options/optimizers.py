"""The optimizers that a checkout knows by name, and what it passes to each scheduler, read from its sources.

``get_optimizer`` compares the name with texts in lower case, and picks a class for each; ``get_scheduler_fix`` (or
``get_lr_scheduler``) compares members of an enumeration, and calls the function of each with its own keywords.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from kohya_runner.options.declaration import dotted

Optimizers = Mapping[str, tuple[str, ...]]
"""Name as it is written -> the class by its full name, then the keywords that the trainer passes itself."""
Schedulers = Mapping[str, tuple[str, ...]]
"""Member by its full name -> the keywords that are passed; "" for every other member."""

FOLDERS = ("library", "src/musubi_tuner/training")
CHOOSES, SCHEDULES = "get_optimizer", ("get_scheduler_fix", "get_lr_scheduler")
NAME = "optimizer_type"


def optimizer_files(root: Path) -> tuple[Path, ...]:
    """The files that have one of the functions."""
    marks = tuple(f"def {name}(".encode() for name in (CHOOSES, *SCHEDULES))
    files = (path for folder in FOLDERS for path in sorted((root / folder).glob("*.py")) if path.is_file())
    return tuple(path for path in files if any(mark in path.read_bytes() for mark in marks))


def read_optimizers(root: Path) -> tuple[Optimizers, Schedulers]:
    """Both tables; empty where the functions are not there or cannot be read."""
    optimizers: dict[str, tuple[str, ...]] = {}
    schedulers: dict[str, tuple[str, ...]] = {}
    for path in optimizer_files(root):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        imports = dict(_imports(tree))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            if function.name == CHOOSES:
                optimizers |= dict(_optimizers(function, imports))
            elif function.name in SCHEDULES:
                schedulers |= dict(_schedulers(function, imports))
    return optimizers, schedulers


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _full(node: ast.expr, imports: Mapping[str, str]) -> str:
    parts = dotted(node)
    return ".".join((imports.get(parts[0], parts[0]), *parts[1:])) if parts else ""


def _optimizers(function: ast.FunctionDef, imports: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(function):
        if isinstance(node, ast.If):
            for name in _compared(node.test):
                chosen = list(_own(node.body))
                classes = [_full(s.value, imports) for s in chosen if isinstance(s, ast.Assign) and _is_class(s)]
                yield name, (next(filter(None, classes), ""), *_passed(chosen))


def _compared(test: ast.expr) -> Iterator[str]:
    """The texts that the name is compared with: ``"AdamW".lower()`` or ``"adamw"``."""
    for node in ast.walk(test):
        match node:
            case ast.Compare(left=ast.Name(id=name), ops=[ast.Eq()], comparators=[other]) if name == NAME:
                texts = (inner.value for inner in ast.walk(other) if isinstance(inner, ast.Constant))
                yield from (str(text) for text in texts if text)
            case _:
                continue


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs for this name: of an ``if`` about the name that is inside, the other half."""
    for statement in body:
        test = ast.walk(statement.test) if isinstance(statement, ast.If) else ()
        if isinstance(statement, ast.If) and any(isinstance(node, ast.Name) and node.id == NAME for node in test):
            yield from _own(statement.orelse)
        elif isinstance(statement, ast.If | ast.Try):
            yield from _own([s for part in ("body", "orelse") for s in getattr(statement, part)])
        else:
            yield statement


def _is_class(statement: ast.Assign) -> bool:
    return dotted(statement.targets[0]) == ("optimizer_class",) and isinstance(statement.value, ast.Attribute)


def _passed(statements: list[ast.AST]) -> tuple[str, ...]:
    """The keywords of ``optimizer_class(params, lr=lr, ...)``; the rate alone where that call is elsewhere."""
    for node in (inner for statement in statements for inner in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "optimizer_class":
            return tuple(keyword.arg for keyword in node.keywords if keyword.arg)
    return ("lr",)


def _schedulers(function: ast.FunctionDef, imports: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(function):
        if isinstance(node, ast.If):
            for member in _members(node.test, imports):
                yield member, _keywords(node.body)
    yield "", _keywords(function.body[-1:])


def _members(test: ast.expr, imports: Mapping[str, str]) -> Iterator[str]:
    for node in ast.walk(test):
        match node:
            case ast.Compare(left=ast.Name(id="name"), ops=[ast.Eq()], comparators=[ast.Attribute() as other]):
                yield _full(other, imports).removesuffix(".value")
            case _:
                continue


def _keywords(body: list[ast.stmt]) -> tuple[str, ...]:
    """Those of the call of ``schedule_func``."""
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "schedule_func":
            return tuple(keyword.arg for keyword in node.keywords if keyword.arg)
    return ()
