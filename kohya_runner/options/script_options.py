"""The options of one train script, and the parser that reads a command line exactly as the script would."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kohya_runner.options.packages import Packages
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean, nearest

Scalar = bool | int | float | str | None
Default = Scalar | tuple[Scalar, ...]
Kind = Literal["switch", "one", "many"]
Type = Literal["bool", "str", "int", "float", "int_or_float", "whole_or_float", "path"]


@dataclass(frozen=True, slots=True)
class Option:
    """One ``add_argument`` call of the trainer; ``where`` is the file and line of the call.

    ``kind``: a switch takes no value (``store_true``), ``one`` takes a value, ``many`` takes ``nargs`` of them.
    ``type`` is how argparse reads each value: ``int_or_float`` is ``library/args.py:50`` of sd-scripts,
    ``whole_or_float`` is ``training/parser_common.py:20`` of musubi-tuner, ``path`` is text.
    """

    name: str
    flags: tuple[str, ...]
    kind: Kind
    type: Type
    nargs: str | int | None = None
    choices: tuple[Scalar, ...] | None = None
    default: Default = None
    where: str = ""
    required: bool = False

    @property
    def flag(self) -> str:
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


NAMES = read_table(Path(__file__).with_name("names.toml"))
PEOPLE_SAY: Mapping[str, list[str]] = NAMES["people_say"]
"""What people write -> the trainer's name; where a script lacks the first, the next one."""
ELSEWHERE: Mapping[str, str] = NAMES["elsewhere"]
"""What people write, and the place for it, where no option of the trainer is the answer."""

_FEW = 4


@dataclass(frozen=True, slots=True)
class ScriptOptions(Mapping[str, Option]):
    """The options of one train script by exact name, in the parser's order.

    argparse would take any unambiguous abbreviation (``--text_encoder`` becomes ``--text_encoder_lr``); a lookup here
    never does. ``checkout`` is where they were read, None where no sources are there;
    ``networks`` are its network modules (``options/networks.py``), ``optimizers`` and ``schedulers`` those that it
    knows by name (``options/optimizers.py``).
    """

    script: str
    rows: tuple[Option, ...]
    checkout: Path | None = field(default=None, compare=False, repr=False)
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False, repr=False)
    optimizers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    schedulers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    packages: Packages = field(default_factory=Packages, compare=False, repr=False)
    _by_name: dict[str, Option] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {row.name: row for row in self.rows})

    def __getitem__(self, name: str) -> Option:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def nearest(self, word: str) -> str | None:
        """The option somebody who wrote ``word`` most likely means, or None."""
        plain = _plain(word)
        if plain in ELSEWHERE and plain not in self:
            return None
        longer = self._starting_with(plain)
        return self.known_as(word) or (longer[0] if len(longer) == 1 else nearest(plain, self))

    def known_as(self, word: str) -> str | None:
        """The option that ``word`` certainly means: by its own name, or by one that people have for it."""
        plain = _plain(word)
        return plain if plain in self else next((name for name in PEOPLE_SAY.get(plain, ()) if name in self), None)

    def advice(self, word: str) -> str:
        """What to write instead of ``word``, as a clause; empty where nothing comes close."""
        plain = _plain(word)
        longer = self._starting_with(plain)
        if plain in ELSEWHERE and plain not in self:
            return ELSEWHERE[plain]
        if plain not in self and plain not in PEOPLE_SAY and 1 < len(longer) <= _FEW:
            return "did you mean " + " or ".join(f"'{name}'" for name in longer) + "?"
        best = self.nearest(word)
        return did_you_mean(best, (best,)) if best else ""

    def _starting_with(self, word: str) -> tuple[str, ...]:
        return tuple(name for name in self if word and name.startswith(word))


def _plain(word: str) -> str:
    """``--Network-Dim`` as the parser's own names are spelt."""
    return word.strip().lstrip("-").lower().replace("-", "_")


def int_or_float(value: str) -> int | float:
    """Steps, a fraction below 1, or ``N%``, as the trainer reads them (library/args.py:50)."""
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
