"""A recipe's value for one option: what is wrong with it, and its command-line tokens.

Both come from one rendering, so that a value without a problem always has tokens, and argparse reads from them exactly
what the recipe said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from kohya_runner.options import keyvalues
from kohya_runner.options.keyvalues import BadValueError, float_text, integer_text, plain_text, shown, steps_text
from kohya_runner.options.script_options import NAMES, Option
from kohya_runner.text import has_control, nearest

TEXTS: Mapping[str, Callable[[object], str]] = {
    "str": plain_text,
    "path": plain_text,
    "int": integer_text,
    "float": float_text,
    "int_or_float": steps_text,
    "whole_or_float": steps_text,
}

COMMA_JOINED: Mapping[str, str] = NAMES["comma_joined"]
"""Options of one text that the trainer splits at commas, and where; a recipe may write a list."""

SDXL_BLOCKS = 23  # UNET_NUM_BLOCKS_FOR_BLOCK_LR, sdxl_train.py:56
RESOLUTION = re.compile(r"^ *0*[1-9][0-9]*( *, *0*[1-9][0-9]*)? *$")
RESOLUTION_X = re.compile(r"^ *([0-9]+) *[xX*\u00d7] *([0-9]+) *$")
NEGATIVE_NUMBER = re.compile(r"^-\d+$|^-\d*\.\d+$")  # argparse's own idea of one

SAID_OTHERWISE: Mapping[str, Mapping[str, str]] = NAMES["values"]
"""By option with choices: values people give it -> what the trainer calls them."""


def fault(option: Option, value: object) -> BadValueError | None:
    """What is wrong with a recipe's value and what to write instead; None where the trainer takes it."""
    try:
        tokens(option, value)
    except BadValueError as found:
        return found
    if option.name in EXTENSIONS and isinstance(value, str) and not plain_extension(value):
        return BadValueError("is no file name's ending", ".txt")
    return None


EXTENSIONS = ("caption_extension", "caption_extention")


def plain_extension(text: str) -> bool:
    """Whether it can only end a file's name: with a folder in it a caption would be written anywhere."""
    return "/" not in text and "\\" not in text


def problem(option: Option, value: object) -> str | None:
    found = fault(option, value)
    return f"{found}; write {found.instead}" if found and found.instead else str(found) if found else None


def tokens(option: Option, value: object) -> tuple[str, ...]:
    """The value as command-line tokens. Only None means "not passed": 0, 0.0 and "" are values like any other.

    Raises ``BadValueError`` for a value that has a ``problem``.
    """
    if value is None:
        return ()
    if option.kind == "switch":
        return _switch(option, value)
    if option.kind == "many":
        return _many(option, value)
    text = _one(option, value)
    return (f"{option.flag}={_passable(text)}",)


def _switch(option: Option, value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (option.flag,) if value else ()
    meant = SWITCHES.get(str(value).lower(), "")
    if meant and isinstance(value, str) and value.lower() == meant:
        raise BadValueError(f"is a switch and got the text {shown(value)}: remove the quotes", meant)
    raise BadValueError(f"is a switch and got {shown(value)}" + ("" if meant else "; write true or false"), meant)


SWITCHES = {"true": "true", "yes": "true", "on": "true", "1": "true",
            "false": "false", "no": "false", "off": "false", "0": "false"}  # fmt: skip
"""What people write for a switch."""


def _many(option: Option, value: object) -> tuple[str, ...]:
    """One item is attached with '=', so that it may begin with '-'; more are tokens of their own."""
    items = tuple(_passable(item) for item in _items(option, value))
    if isinstance(option.nargs, int) and items and len(items) != option.nargs:
        raise BadValueError(f"takes {option.nargs} values and got {len(items)}; write a list of {option.nargs}")
    if len(items) == 1:
        return (f"{option.flag}={items[0]}",)
    for item in items:
        if item.startswith("-") and item != "-" and not NEGATIVE_NUMBER.match(item):
            raise BadValueError(f"the trainer would take {shown(item)} for an option; write it without the leading '-'")
    return (option.flag, *items) if items else ()


def _items(option: Option, value: object) -> tuple[str, ...]:
    if option.name in keyvalues.KEY_VALUE:
        return keyvalues.items(option.name, value)
    if isinstance(value, Mapping):
        raise BadValueError("takes a list and got a mapping; write [first, second]")
    return tuple(_chosen(option, item) for item in (value if isinstance(value, list | tuple) else (value,)))


def _one(option: Option, value: object) -> str:
    if isinstance(value, list | tuple):
        if option.name not in COMMA_JOINED:
            first = next((str(one) for one in value if re.fullmatch(r"[\w.+-]+", str(one))), "a single value")
            raise BadValueError("takes one value and got a list ('kohya-runner sweep' trains with each)", first)
        value = ",".join(_part(item) for item in value)
    text = _chosen(option, value)
    check = _SHAPES.get(option.name)
    if check:
        check(text)
    return text


def _part(item: object) -> str:
    text = plain_text(item)
    if "," in text:
        raise BadValueError(f"{shown(text)} holds a comma, and the trainer splits there; write two items")
    return text


def _chosen(option: Option, value: object) -> str:
    """The text of one value, which is one of the option's choices where it has any."""
    if option.choices is None:
        return TEXTS[option.type](value)
    allowed = [str(choice) for choice in option.choices if choice is not None]
    known = SAID_OTHERWISE.get(option.name, {}).get(str(value))
    if known:
        raise BadValueError(f"{shown(value)} is not what the trainer calls it", known)
    text = TEXTS[option.type](value)
    if text in allowed:
        return text
    listed = ", ".join(allowed) + (", or null" if None in option.choices else "")
    best = nearest(text, allowed)
    if best:
        raise BadValueError(f"{shown(value)} is none of the choices ({listed})", best)
    raise BadValueError(f"{shown(value)} is none of the choices; write one of: {listed}")


def _passable(text: str) -> str:
    """Text that survives the way into a process and through argparse."""
    if text == "--":
        raise BadValueError("'--' ends the options for the trainer's parser; write something else")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadValueError("holds a character that no command line can; write it without")
    if has_control(text):
        raise BadValueError(f"{shown(text)} holds a control character; write one line of plain text (>- in place of |)")
    return text


def _resolution(text: str) -> None:
    if RESOLUTION.match(text):
        return
    sides = RESOLUTION_X.match(text)
    if sides:
        raise BadValueError(f"the trainer does not read {shown(text)}", f"{sides[1]},{sides[2]}")
    numbers = re.findall(r"[1-9][0-9]*", text)
    if 1 <= len(numbers) <= 2:
        raise BadValueError(f"{shown(text)} is not a resolution", ",".join(numbers))
    raise BadValueError(f"{shown(text)} is not a resolution; write 1024, or width,height such as 1024,768")


def _crop_range(text: str) -> None:
    parts = _numbers(text)
    if len(parts) != 2 or parts[0] > parts[1]:
        raise BadValueError(f"{shown(text)} is not a range; write two numbers, the smaller one first, such as 2.0,4.0")


def _block_rates(text: str) -> None:
    """An empty text is no list for the trainer (sdxl_train.py:120)."""
    if text and len(_numbers(text)) != SDXL_BLOCKS:
        raise BadValueError(f"needs {SDXL_BLOCKS} learning rates, one per block of the U-Net; write a list of them")


def _numbers(text: str) -> Sequence[float]:
    return [float(float_text(part.strip())) for part in text.split(",")]


_SHAPES: Mapping[str, Callable[[str], None]] = {
    "resolution": _resolution,
    "skip_image_resolution": _resolution,
    "face_crop_aug_range": _crop_range,
    "block_lr": _block_rates,
}
"""Texts the trainer takes apart, and the check that it can."""
