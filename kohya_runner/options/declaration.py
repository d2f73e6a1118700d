"""One ``parser.add_argument(...)`` call as an ``Option``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kohya_runner.options.constants import NotConstantError, plain
from kohya_runner.options.modules import External, Function
from kohya_runner.options.script_options import Option, Type
from kohya_runner.tables import read_table


def table_of(node: ast.expr) -> ast.expr | None:
    """``TABLE`` of ``list(TABLE)`` and ``list(TABLE.keys())``."""
    match node:
        case ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Attribute(value=table, attr="keys"), args=[])]):
            return table
        case ast.Call(func=ast.Name(id="list"), args=[ast.Name() as table], keywords=[]):
            return table
        case _:
            return None


def enumeration_of(node: ast.expr) -> ast.expr | None:
    """``Enum`` of ``[e.value for e in Enum]``."""
    match node:
        case ast.ListComp(
            elt=ast.Attribute(value=ast.Name(id=used), attr="value"),
            generators=[ast.comprehension(target=ast.Name(id=bound), iter=source, ifs=[], is_async=0)],
        ) if used == bound:
            return source
        case _:
            return None


def dict_keys(node: ast.expr) -> tuple[ast.expr, ...] | None:
    """The keys of a dictionary that is written down, without ``**``; None for anything else."""
    if not isinstance(node, ast.Dict) or any(key is None for key in node.keys):
        return None
    return tuple(key for key in node.keys if key is not None)


def dotted(node: ast.expr) -> tuple[str, ...]:
    """``a.b.c`` as its parts; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=inner, attr=name):
            outer = dotted(inner)
            return (*outer, name) if outer else ()
        case _:
            return ()


UNREAD = frozenset({"help", "metavar", "deprecated"})
"""Keywords that say nothing about what the option accepts."""
READ = frozenset({"dest", "action", "type", "nargs", "choices", "default", "required"})

TYPES: Mapping[str, Type] = {
    "builtins.str": "str",
    "builtins.int": "int",
    "builtins.float": "float",
    "pathlib.Path": "path",
}

_TEXTS = read_table(Path(__file__).with_name("type_functions.toml"))
ENUMERATIONS: Mapping[str, list[str]] = _TEXTS["enumerations"]
TYPE_FUNCTIONS: Mapping[Type, str] = {kind: _TEXTS[kind] for kind in ("int_or_float", "whole_or_float")}
"""The trainers' own type functions: their text by the name of the type."""


def declared(call: ast.Call, value: Callable[[ast.expr], object], where: str) -> Option:
    """The option a call declares. ``value`` evaluates an expression in the place of the call.

    Raises ``NotConstantError`` for anything that is not understood.
    """
    if any(keyword.arg is None for keyword in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args):
        raise NotConstantError(call, "cannot follow * and ** in add_argument")
    keywords = {str(keyword.arg): keyword.value for keyword in call.keywords}
    unknown = sorted(keywords.keys() - READ - UNREAD)
    if unknown:
        raise NotConstantError(call, f"add_argument has a keyword this version does not know: {', '.join(unknown)}")
    given = {name: value(node) for name, node in keywords.items() if name in READ}
    read = [value(node) for node in call.args]
    flags = tuple(flag for flag in read if isinstance(flag, str))
    if len(flags) != len(read):
        raise NotConstantError(call, f"cannot follow {read!r}: an option is a text")
    first = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else "")
    name = given.get("dest") or first.lstrip("-").replace("-", "_")  # what argparse calls the value
    if not flags or not isinstance(name, str):
        raise NotConstantError(call, "cannot tell the name of this option")
    try:
        return _option(call, given, Option(name, flags, "one", "str", where=where))
    except TypeError:
        raise NotConstantError(
            call, f"the option {flags[0]} has a default or choices that are not plain values"
        ) from None


def _option(call: ast.Call, given: Mapping[str, object], bare: Option) -> Option:
    """``bare`` with everything the keywords say."""
    default, required = plain(given.get("default"), call), given.get("required") is True
    action, nargs = given.get("action", "store"), given.get("nargs")
    if action == "store_true" and not given.keys() & {"type", "nargs", "choices"}:
        off = default if "default" in given else False
        return replace(bare, kind="switch", type="bool", default=off, required=required)
    choices = plain(given.get("choices"), call)
    if action != "store" or not isinstance(choices, tuple | None):
        raise NotConstantError(call, f"cannot follow action={action!r}, choices={choices!r} of {bare.flags[0]}")
    bare = replace(bare, type=_type(call, given.get("type")), choices=choices, default=default, required=required)
    if nargs is None:
        return bare
    if nargs in {"*", "+"} or (type(nargs) is int and nargs > 0):
        return replace(bare, kind="many", nargs=nargs)
    raise NotConstantError(call, f"cannot follow nargs={nargs!r} of {bare.flags[0]}")


def _type(call: ast.Call, given: object) -> Type:
    match given:
        case None:
            return "str"
        case External(name) if name in TYPES:
            return TYPES[name]
        case Function(node=node):
            for kind, text in TYPE_FUNCTIONS.items():
                if _outline(node) == _outline(ast.parse(text).body[0]):
                    return kind
            raise NotConstantError(
                call, f"the type function {node.name} reads values in a way this version does not know"
            )
        case External(name):
            raise NotConstantError(call, f"cannot follow type={name}")
        case _:
            raise NotConstantError(call, "cannot follow the type of this option")


class _WithoutMessages(ast.NodeTransformer):
    """What a type function does, without what it says when it fails."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        """A bare ``raise`` stands for any."""
        return ast.copy_location(ast.Raise(exc=None, cause=None), node)


def _outline(function: ast.stmt) -> str:
    """A function's arguments, decorators and body as text, without its name, annotations and messages."""
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 - both callers hold one
    bare = _WithoutMessages().visit(ast.parse(ast.unparse(function)).body[0])
    names = ",".join(argument.arg for argument in bare.args.args)
    return "\n".join([names, *(ast.unparse(node) for node in (*bare.decorator_list, *bare.body))])
