"""Values of a recipe as command-line text: plain ones and ``key=value`` options as the trainer's readers split them."""

from __future__ import annotations

import ast
import math
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

INTEGER = re.compile(r"^[+-]?[0-9]{1,4000}$")
DECIMAL = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
PERCENT = re.compile(r"^([0-9]+\.?[0-9]*|\.[0-9]+)%$")
SHORT = 12


class BadValueError(ValueError):
    """A value the trainer would refuse or misread; the message ends with what to write, unless that is ``instead``."""

    def __init__(self, message: str, instead: str = "") -> None:
        super().__init__(message)
        self.instead = instead


def number_text(value: float) -> str:
    """An int or a finite float, without exponent where that stays short: ``0.0001``, not ``1e-04``."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise BadValueError(f"{shown(value)} is not a number to train with; write a finite number")
    text = repr(value)
    plain = format(Decimal(text), "f") if "e" in text else text
    return plain if len(plain) <= SHORT else text


def integer_text(value: object) -> str:
    """A whole number: an int, a float without fraction, or digits."""
    match value:
        case bool():
            pass
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case str() if INTEGER.match(value):
            return value
        case _:
            pass
    example = "1"
    if isinstance(value, float) and math.isfinite(value):
        example = f"{math.floor(value)} or {math.ceil(value)}"
    raise BadValueError(f"{shown(value)} is not a whole number; write one, such as {example}")


def float_text(value: object) -> str:
    """A number: an int, a float, or its text. nan and inf are refused."""
    match value:
        case bool():
            pass
        case int() if abs(value) > sys.float_info.max or float(value) != value:
            raise BadValueError("is too large for the trainer's floating point; write a smaller number")
        case int() | float():
            return number_text(value)
        case str() if DECIMAL.match(value):
            return number_text(float(value))
        case _:
            pass
    if isinstance(value, str) and DECIMAL.match(value.replace(",", ".")):
        raise BadValueError(f"{shown(value)} is not a number: a point stands before decimals", value.replace(",", "."))
    raise BadValueError(f"{shown(value)} is not a number; write one, such as 0.0001")


def steps_text(value: object) -> str:
    """``int_or_float`` of the trainer (library/args.py:50): steps, a fraction below 1, or ``N%``."""
    forms = "write a number of steps (100), a fraction below 1 (0.05) or a percentage ('5%')"
    match value:
        case str() if PERCENT.match(value):
            if float(value[:-1]) <= 100:
                return value
            raise BadValueError(f"{value} is more than all of the steps; {forms}")
        case str() if INTEGER.match(value) and int(value) >= 0:
            return value
        case str() if DECIMAL.match(value):
            return steps_text(float(value))
        case int() if not isinstance(value, bool) and value >= 0:
            return str(value)
        case float() if 0 <= value < 1:
            return number_text(value)
        case float() if value == 1:
            raise BadValueError("1.0 could be one step or all of them; write 1 or '100%'")
        case float() if value > 1 and value.is_integer():
            raise BadValueError(f"the trainer refuses {value}; write {int(value)}")
        case _:
            raise BadValueError(f"{shown(value)} is not a number of steps; {forms}")


def plain_text(value: object) -> str:
    """Text: a string as it is, a number as it is written. A bool is refused: YAML made it out of a word."""
    match value:
        case bool():
            word = "true" if value else "false"
            raise BadValueError(f"takes a text and got {word}; write '{word}' in quotes if that is the text")
        case int() | float():
            return number_text(value)
        case str():
            return value
        case _:
            raise BadValueError(f"takes one text and got {shown(value)}; write a single value")


def shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            text, limit = str(value), 60
            return f"'{text if len(text) <= limit else text[:limit] + '...'}'"


Style = Literal["text", "literal"]

KEY_VALUE: Mapping[str, Style] = {
    "network_args": "text",  # train_network.py:1074: split at the first '=', the network module reads the text
    "optimizer_args": "literal",  # library/optimizer.py:69: one '=', then ast.literal_eval
    "lr_scheduler_args": "literal",  # library/optimizer.py:499: the same
}
"""Option -> how the trainer reads the part after the '='."""

PATTERN_LISTS = frozenset({"exclude_patterns", "include_patterns"})
"""``network_args`` that are Python lists all the same (networks/lora_anima.py:249, :259)."""

PATTERN_NUMBERS = frozenset({"network_reg_lrs", "network_reg_dims"})
"""``network_args`` that are ``pattern=number,pattern=number`` (networks/lora_flux.py:594)."""

ANY_TEXT_IS_YES = frozenset({"enable_all_linear", "enable_conv"})
"""``network_args`` for which the text ``False`` means yes (networks/oft.py:181)."""


def items(option: str, value: object) -> tuple[str, ...]:
    """The ``key=value`` items of a mapping, a list of ``k=v`` texts, or one such text.

    In a mapping, null means absent, as everywhere. Raises ``BadValueError``.
    """
    style = KEY_VALUE[option]
    if isinstance(value, Mapping):
        return tuple(_pair(style, str(key), item) for key, item in value.items() if item is not None)
    return tuple(_checked(style, item) for item in (value if isinstance(value, list | tuple) else [value]))


def _pair(style: Style, key: str, value: object) -> str:
    if not key.isidentifier():
        raise BadValueError(f"'{key}' is not a name the trainer could use; write a name such as conv_dim")
    text = _literal(key, value) if style == "literal" else _text(key, value)
    return _checked(style, f"{key}={text}")


def _checked(style: Style, item: object) -> str:
    """An item the trainer's reader takes apart again as it was meant."""
    if not isinstance(item, str) or not item.partition("=")[1]:
        words = str(item).replace(":", " ").split()
        instead = f"{{{words[0]}: {words[1]}}}" if len(words) == 2 else "{key: value}"
        raise BadValueError(f"{shown(item)} is no 'key=value'", instead)
    key, _, text = item.partition("=")
    if not key.isidentifier():
        raise BadValueError(f"'{key}' is not a name the trainer could use; write a name such as conv_dim=8")
    if style == "literal" and "=" in text:
        raise BadValueError(f"{key}: the trainer allows no second '=' in '{item}'; write {key}=VALUE")
    if style == "literal" or key in PATTERN_LISTS:
        try:
            literal(text)
        except ValueError:
            fix = f'write {key}: "{text!r}"' if text else f"write {key}: \"''\" for an empty text"
            message = f"{key}: the trainer reads '{text}' as a Python value and it is none; {fix}"
            raise BadValueError(message) from None
    if key in ANY_TEXT_IS_YES and text.strip().lower() in {"false", "0", "no", ""}:
        raise BadValueError(f"{key}: the trainer takes any text for yes, '{text}' too; leave {key} out")
    return item


def literal(text: str) -> object:
    """As ``ast.literal_eval`` reads it; a ``ValueError`` for whatever it refuses."""
    try:
        with warnings.catch_warnings():  # about escapes such as \d, which the trainer's Python would print, too
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (SyntaxError, RecursionError, MemoryError, TypeError) as fault:
        raise ValueError(text) from fault


def _literal(key: str, value: object) -> str:
    """As ``ast.literal_eval`` reads it back: a list becomes a tuple, a text stands for itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value:
        inner = [_nested(key, item) for item in value]
        return ",".join(inner) + ("," if len(inner) == 1 else "")
    return _nested(key, value)


def _nested(key: str, value: object) -> str:
    match value:
        case None | bool() | str():
            return repr(value)
        case int() | float():
            return number_text(value)
        case list() | tuple():
            inner = [_nested(key, item) for item in value]
            return f"({inner[0]},)" if len(inner) == 1 else f"({','.join(inner)})"
        case Mapping():
            return "{" + ",".join(f"{_nested(key, k)}:{_nested(key, v)}" for k, v in value.items()) + "}"
        case _:
            raise BadValueError(f"{key}: cannot be written as a Python value; write a number, a text or a list")


def _text(key: str, value: object) -> str:
    """As the network modules read it: True and False by their names, lists joined with commas."""
    if key in PATTERN_LISTS and isinstance(value, list | tuple):
        return repr([str(item) for item in value])
    if key in PATTERN_NUMBERS and isinstance(value, Mapping):
        return _joined(key, (f"{_part(key, k)}={_part(key, v)}" for k, v in value.items()))
    if isinstance(value, list | tuple):
        return _joined(key, (_part(key, item) for item in value))
    return _scalar(key, value)


def _joined(key: str, parts: Iterable[str]) -> str:
    joined = ",".join(parts)
    if not joined:
        raise BadValueError(f"{key}: is empty; leave it out")
    return joined


def _part(key: str, value: object) -> str:
    text = _scalar(key, value)
    if "," in text or (key in PATTERN_NUMBERS and "=" in text):
        raise BadValueError(f"{key}: '{text}' holds a separator; the trainer splits this text at every comma and '='")
    return text


def _scalar(key: str, value: object) -> str:
    match value:
        case bool() | str():
            return str(value)
        case int() | float():
            return number_text(value)
        case _:
            raise BadValueError(f"{key}: write a number, a text, true or false, or a list of these")
