"""What a checkout itself says of its options: read from its sources when it is asked for, and kept nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from kohya_runner.options.script_options import Option

JAPANESE = 0x3000
"""Where the trainers' second language begins; it follows the first after a slash."""


def help_texts(root: Path, options: Iterable[Option]) -> dict[str, str]:
    """The help of each option by its place (``file:line``), where the checkout declares it there."""
    wanted = {option.where: option.flag for option in options if option.where}
    found: dict[str, str] = {}
    for name in {place.rpartition(":")[0] for place in wanted}:
        try:
            tree = ast.parse((root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and (place := f"{name}:{call.lineno}") in wanted:
                flags = [_text(argument) for argument in call.args]
                said = next((_text(k.value) for k in call.keywords if k.arg == "help"), "")
                if wanted[place] in flags:
                    found[place] = _english(said)
    return found


def _text(node: ast.expr) -> str:
    """A text that is written down, also over several lines; the values of an f-string are left out."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case _:
            return ""


def _english(text: str) -> str:
    first = next((n for n, sign in enumerate(text) if ord(sign) >= JAPANESE), None)
    cut = text if first is None else text[:first].rpartition(" / ")[0] or text
    return " ".join(cut.split())
