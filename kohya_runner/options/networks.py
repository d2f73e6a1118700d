"""The network modules of a checkout and the keys of ``network_args`` that each looks at, read from its sources.

A module is a file of ``networks`` with ``create_network``. Its keys are those that this function, or one that it hands
its keywords to, asks for; what a key's text becomes (a number, a list, True alone) is read from what is done with it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from kohya_runner.options.modules import parsed

Kind = Literal["int", "float", "ints", "floats", "bool", "flag", "text"]
"""``bool`` is on for the text True alone, ``flag`` in any case."""
Networks = Mapping[str, Mapping[str, str]]
"""Module -> key -> kind; the key "" holds what the module finds out by itself ("arch": the family)."""

FOLDER = "networks"
ENTRY = "create_network"
DETECTS = "detect_arch_config"
READERS = frozenset({"get", "pop"})
STRICTEST: tuple[Kind, ...] = ("ints", "floats", "int", "float", "flag", "bool")


def read_networks(root: Path) -> Networks:
    """Every module of a checkout; one that cannot be read is left out."""
    read = ((path.stem, module_keys(path)) for path in sorted((root / FOLDER).glob("*.py")))
    return {f"{FOLDER}.{stem}": keys for stem, keys in read if keys is not None}


def module_keys(path: Path) -> Mapping[str, str] | None:
    functions = _functions(path)
    if ENTRY not in functions:
        return None
    keys = dict(_keys(functions, functions[ENTRY], "kwargs", frozenset()))
    detects = any(isinstance(n, ast.Name) and n.id == DETECTS for n in ast.walk(functions[ENTRY]))
    return dict(sorted(keys.items())) | ({"": "arch"} if detects else {})


def kind_of(owner: ast.ClassDef, parameter: str) -> Kind:
    """What the constructor of a class makes of one of its parameters."""
    made = [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    found = {kind for function in made for kind in _uses({}, function, {parameter}, None)}
    return next((kind for kind in STRICTEST if kind in found), "text")


def _functions(path: Path) -> dict[str, ast.FunctionDef]:
    """A file's functions and its classes' methods, by their own names; the first of a name counts."""
    tree = parsed(path)
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, node)
    return found


def _keys(
    functions: Mapping[str, ast.FunctionDef], function: ast.FunctionDef, mapping: str, seen: frozenset[str]
) -> Iterator[tuple[str, Kind]]:
    """The keys that a function asks ``mapping`` for, and those of the functions that it hands it to."""
    for node in ast.walk(function):
        key, call = _asked(node, mapping)
        if key is not None and call is not None:
            yield key, _kind(functions, function, call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            name, inner = node.func.id, functions[node.func.id]
            handed = _handed(node, inner, mapping)
            if handed and name not in seen:
                yield from _keys(functions, inner, handed, seen | {name})


def _asked(node: ast.AST, mapping: str) -> tuple[str | None, ast.expr | None]:
    """The key of ``kwargs.get("key")``, ``kwargs["key"]`` and their like."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=name), attr=method), args=[ast.Constant(value=str(key)), *_]
        ) if name == mapping and method in READERS:
            return key, node
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)), ctx=ast.Load()) if (
            name == mapping
        ):
            return key, node
        case _:
            return None, None


def _handed(call: ast.Call, function: ast.FunctionDef, mapping: str) -> str:
    """What the called function knows ``mapping`` as; "" where it does not get it."""
    names = [parameter.arg for parameter in function.args.args]
    for name, given in zip(names, call.args, strict=False):
        if isinstance(given, ast.Name) and given.id == mapping:
            return name
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name) and keyword.value.id == mapping:
            return keyword.arg or (function.args.kwarg.arg if function.args.kwarg else "")
    return ""


def _kind(functions: Mapping[str, ast.FunctionDef], function: ast.FunctionDef, call: ast.expr) -> Kind:
    """What becomes of the value: where it is asked for, and where the name that holds it is used or handed on."""
    names = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and any(inner is call for inner in ast.walk(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set(_uses(functions, function, names, call))
    return next((kind for kind in STRICTEST if kind in found), "text")


def _uses(
    functions: Mapping[str, ast.FunctionDef],
    function: ast.FunctionDef,
    names: set[str],
    call: ast.expr | None,
    hops: int = 3,
) -> Iterator[Kind]:
    def is_it(node: ast.AST) -> bool:
        return node is call or (isinstance(node, ast.Name) and node.id in names)

    for node in ast.walk(function):
        kind = _use(node, is_it)
        if kind is not None:
            yield kind
        if hops and isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            inner = functions[node.func.id]
            handed = {into for name in names if (into := _handed(node, inner, name))}
            if handed:
                yield from _uses(functions, inner, handed, None, hops - 1)


def _use(node: ast.AST, is_it: Callable[[ast.AST], bool]) -> Kind | None:
    """What one expression makes of the value."""
    match node:
        case ast.Call(func=ast.Name(id="int" | "float" as name), args=[inner]) if is_it(_first(inner)):
            return "int" if name == "int" else "float"
        case ast.ListComp(elt=ast.Call(func=ast.Name(id="int" | "float" as name)), generators=[part]):
            inside = any(is_it(inner) for inner in ast.walk(part.iter))
            return ("ints" if name == "int" else "floats") if inside else None
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[ast.Constant(value="True")]) if is_it(left):
            return "bool"
        case ast.Compare(left=left, comparators=[ast.Constant(value="true")]):
            return "flag" if any(is_it(inner) for inner in ast.walk(left)) else None
        case _:
            return None


def _first(node: ast.expr) -> ast.expr:
    """``value`` of ``value or default``."""
    return node.values[0] if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) else node
