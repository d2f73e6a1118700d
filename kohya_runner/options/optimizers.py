"""The optimizers that a checkout knows by name, and what it passes to each scheduler, read from its sources.

``get_optimizer`` compares the name with texts in lower case, and picks a class for each; ``get_scheduler_fix`` (or
``get_lr_scheduler``) compares members of an enumeration, and calls the function of each with its own keywords.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kohya_runner.options.declaration import dotted
from kohya_runner.options.modules import parsed

Optimizers = Mapping[str, tuple[str, ...]]
"""Name as it is written -> the class by its full name, then the keywords that the trainer passes itself."""
Schedulers = Mapping[str, tuple[str, ...]]
"""Member by its full name -> the keywords that are passed; "" for every other member."""

FOLDERS = ("library", "src/musubi_tuner/training")
CHOOSES, SCHEDULES = "get_optimizer", ("get_scheduler_fix", "get_lr_scheduler")
NAME, CLASS = "optimizer_type", "optimizer_class"


def optimizer_files(root: Path) -> tuple[Path, ...]:
    """The files that have one of the functions."""
    marks = tuple(f"def {name}(".encode() for name in (CHOOSES, *SCHEDULES))
    files = (path for folder in FOLDERS for path in sorted((root / folder).glob("*.py")) if path.is_file())
    return tuple(path for path in files if any(mark in path.read_bytes() for mark in marks))


def read_optimizers(root: Path) -> tuple[Optimizers, Schedulers]:
    """Both tables; empty where the functions are not there or cannot be read."""
    optimizers: dict[str, tuple[str, ...]] = {}
    schedulers: dict[str, tuple[str, ...]] = {}
    for tree in filter(None, map(parsed, optimizer_files(root))):
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
    for branch in (node for node in ast.walk(function) if isinstance(node, ast.If)):
        compared = [n for other in _compared(branch.test, NAME) for n in ast.walk(other) if isinstance(n, ast.Constant)]
        inner = [node for statement in _own(branch.body) for node in ast.walk(statement)] if compared else []
        chosen = (n.value for n in inner if isinstance(n, ast.Assign) and dotted(n.targets[0]) == (CLASS,))
        made = next((_full(value, imports) for value in chosen if isinstance(value, ast.Attribute)), "")
        for text in compared:
            if text.value:
                yield str(text.value), (made, *(_passed(inner, CLASS) or ("lr",)))


def _compared(test: ast.expr, name: str) -> Iterator[ast.expr]:
    """What a name is compared with in a condition."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and dotted(node.left) == (name,) and isinstance(node.ops[0], ast.Eq):
            yield node.comparators[0]


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs for this name: of an ``if`` about the name that is inside, the other half."""
    for statement in body:
        test = ast.walk(statement.test) if isinstance(statement, ast.If) else ()
        about = any(isinstance(node, ast.Name) and node.id == NAME for node in test)
        if isinstance(statement, ast.If | ast.Try):
            yield from _own([*([] if about else statement.body), *statement.orelse])
        else:
            yield statement


def _passed(nodes: Iterable[ast.AST], function: str) -> tuple[str, ...]:
    calls = (node for node in nodes if isinstance(node, ast.Call) and dotted(node.func) == (function,))
    return next((tuple(word.arg for word in call.keywords if word.arg) for call in calls), ())


def _schedulers(function: ast.FunctionDef, imports: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for branch in (node for node in ast.walk(function) if isinstance(node, ast.If)):
        for member in _compared(branch.test, "name"):
            passed = _passed((node for statement in branch.body for node in ast.walk(statement)), "schedule_func")
            yield _full(member, imports).removesuffix(".value"), passed
    yield "", _passed(ast.walk(function.body[-1]), "schedule_func")
