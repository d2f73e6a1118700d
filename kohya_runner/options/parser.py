"""A parser that reads a command line exactly as the train script's own would, without the trainer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.options.script_options import Option, ScriptOptions


def int_or_float(value: str) -> int | float:
    """Steps, a fraction below 1, or ``N%``, as the trainer reads them (library/train_util.py:3664)."""
    if value.endswith("%"):
        try:
            return float(value[:-1]) / 100.0
        except ValueError:
            raise argparse.ArgumentTypeError(f"Value '{value}' is not a valid percentage") from None
    try:
        return int(value) if float(value) >= 1 else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{value}' is not an int or float") from None


def whole_or_float(value: str) -> int | float:
    """The same as musubi-tuner reads it, which takes 1.5 for a number (training/parser_common.py:20)."""
    try:
        number = float(value[:-1]) / 100.0 if value.endswith("%") else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{value}' is not an int or float") from None
    return int(number) if number >= 1 and number.is_integer() and not value.endswith("%") else number


TYPES: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "int_or_float": int_or_float,
    "whole_or_float": whole_or_float,
    "path": Path,
}


def argparse_parser(options: ScriptOptions, *, whole: bool = True) -> argparse.ArgumentParser:
    """The script's parser rebuilt from its options, abbreviations included: ``exit 2`` is where the script's is.

    ``whole`` is off for a part of a command line: nothing is missed in it.
    """
    parser = argparse.ArgumentParser(prog=options.script)
    for option in options.values():
        settings = _settings(option)
        parser.add_argument(*option.flags, **(settings if whole else {**settings, "required": False}))
    return parser


def _settings(option: Option) -> dict[str, Any]:
    common = {"dest": option.name, "default": option.default, "required": option.required}
    if option.kind == "switch":
        return {**common, "action": "store_true"}
    choices = None if option.choices is None else list(option.choices)
    return {**common, "type": TYPES[option.type], "nargs": option.nargs, "choices": choices}
