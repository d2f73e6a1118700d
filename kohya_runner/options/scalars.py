"""Single values of a recipe as command-line text that reads back as the very same value."""

from __future__ import annotations

import math
import re
from decimal import Decimal

INTEGER = re.compile(r"^[+-]?[0-9]{1,4000}$")
DECIMAL = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
PERCENT = re.compile(r"^([0-9]+\.?[0-9]*|\.[0-9]+)%$")
SHORT = 12


class BadValueError(ValueError):
    """A value the trainer would refuse or misread; the message ends with what to write instead."""


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
    raise BadValueError(f"{shown(value)} is not a whole number; write one, such as {_whole_example(value)}")


def float_text(value: object) -> str:
    """A number: an int, a float, or its text. nan and inf are refused."""
    match value:
        case bool():
            pass
        case int() if not _exact(value):
            raise BadValueError("is too large for the trainer's floating point; write a smaller number")
        case int() | float():
            return number_text(value)
        case str() if DECIMAL.match(value):
            return number_text(float(value))
        case _:
            pass
    raise BadValueError(f"{shown(value)} is not a number; write one, such as 0.0001")


def steps_text(value: object) -> str:
    """``int_or_float`` of the trainer (library/train_util.py:3664): steps, a fraction below 1, or ``N%``."""
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
    """A value as a recipe would show it, short."""
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


def _exact(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _whole_example(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{math.floor(value)} or {math.ceil(value)}"
    return "1"
