"""The value of an expression in a stranger's source file, by a short list of allowed forms; nothing is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kohya_runner.options.script_options import Default

Lookup = Callable[[ast.expr], object]
"""What a name or an attribute stands for."""

MAX_TEXT = 20_000
MAX_NUMBER = 1e18


class NotConstantError(Exception):
    """An expression whose value only running the program would tell."""

    def __init__(self, node: ast.AST, why: str) -> None:
        super().__init__(why)
        self.line = getattr(node, "lineno", 0)


_NUMBERS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[object, object], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.eq,  # None, True and False; text is the same where it is equal
    ast.IsNot: operator.ne,
}


def evaluate(node: ast.expr, lookup: Lookup) -> object:
    """The constant an expression stands for; lists and tuples become tuples.

    Raises ``NotConstantError`` for every form that is not listed here: a call, a comprehension, a format specification.
    """
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name() | ast.Attribute():
            return lookup(node)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(evaluate(item, lookup) for item in items)
        case ast.JoinedStr(values=pieces):
            return _short(node, "".join(_piece(piece, lookup) for piece in pieces))
        case _:
            return _operation(node, lookup)


def _operation(node: ast.expr, lookup: Lookup) -> object:
    match node:
        case ast.UnaryOp(op=operation, operand=operand):
            return _unary(node, operation, evaluate(operand, lookup))
        case ast.BinOp(left=left, op=operation, right=right):
            return _binary(node, operation, (evaluate(left, lookup), evaluate(right, lookup)))
        case _:
            return _logic(node, lookup)


def _logic(node: ast.expr, lookup: Lookup) -> object:
    match node:
        case ast.IfExp(test=test, body=body, orelse=other):
            return evaluate(body if evaluate(test, lookup) else other, lookup)
        case ast.BoolOp(op=operation, values=values):
            return _first_decisive(values, lookup, stop_at=isinstance(operation, ast.Or))
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as operation], comparators=[right]):
            group = evaluate(right, lookup)
            if isinstance(group, tuple):
                return (evaluate(left, lookup) in group) is isinstance(operation, ast.In)
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARISONS:
            return _COMPARISONS[type(operation)](evaluate(left, lookup), evaluate(right, lookup))
        case _:
            pass
    raise NotConstantError(node, f"cannot tell the value of '{_shown(node)}' without running it")


def _first_decisive(values: list[ast.expr], lookup: Lookup, *, stop_at: bool) -> object:
    """``and`` and ``or`` as Python evaluates them: the later operands only where they matter."""
    result: object = None
    for value in values:
        result = evaluate(value, lookup)
        if bool(result) is stop_at:
            break
    return result


def _piece(piece: ast.expr, lookup: Lookup) -> str:
    match piece:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=inner, conversion=-1, format_spec=None):
            return str(evaluate(inner, lookup))
        case _:
            raise NotConstantError(piece, "cannot follow the formatting in an f-string")


def _unary(node: ast.expr, operation: ast.unaryop, value: object) -> object:
    match operation, value:
        case ast.Not(), _:
            return not value
        case ast.USub(), int() | float():
            return -value
        case ast.UAdd(), int() | float():
            return +value
        case _:
            raise NotConstantError(node, f"cannot tell the value of '{_shown(node)}'")


def _binary(node: ast.expr, operation: ast.operator, sides: tuple[object, object]) -> object:
    match operation, sides:
        case ast.Add(), (str(left), str(right)):
            return _short(node, left + right)
        case ast.Add(), (tuple(first), tuple(second)) if len(first) + len(second) < MAX_TEXT:
            return first + second
        case _, (int() | float() as number, int() | float() as other) if type(operation) in _NUMBERS:
            try:
                result = _NUMBERS[type(operation)](number, other)
            except ArithmeticError:
                result = MAX_NUMBER * 10
            if abs(result) <= MAX_NUMBER:
                return result
        case _:
            pass
    raise NotConstantError(node, f"cannot tell the value of '{_shown(node)}'")


def _short(node: ast.expr, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise NotConstantError(node, f"a text of more than {MAX_TEXT} characters")
    return text


def _shown(node: ast.expr) -> str:
    limit = 60
    text = ast.unparse(node)
    return text if len(text) <= limit else text[:limit] + "..."


def plain(value: object, node: ast.AST) -> Default:
    """The same value as an option holds it: a scalar or a tuple of scalars; ``NotConstantError`` for anything else."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple(items) if all(item is None or isinstance(item, bool | int | float | str) for item in items):
            return tuple(items)
        case _:
            raise NotConstantError(node, "a default or choices that are not plain values")
