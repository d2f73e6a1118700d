"""A command line as the trainer's own parser reads it, and the training command of a script."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, NoReturn

from kohya_runner.engines.table import all_scripts
from kohya_runner.importing.branches import Statement
from kohya_runner.importing.setup import OPEN, Setup
from kohya_runner.options.script_options import ScriptOptions, argparse_parser
from kohya_runner.options.values import NEGATIVE_NUMBER


class _RefusedError(Exception):
    """The trainer's parser would end here."""


class Invocation(NamedTuple):
    """A training command: its script, the words before it and those behind it."""

    script: str
    before: tuple[str, ...]
    words: tuple[str, ...]
    line: int


def base_name(path: str) -> str:
    """The last part of a path of any system."""
    return PurePosixPath(path.replace("\\", "/")).name


def invocations(statements: Iterable[Statement]) -> Iterator[Invocation]:
    """The commands among them that train."""
    known = all_scripts()
    for words, line in statements:
        for index, word in enumerate(words):
            if (name := base_name(word)) in known and not word.startswith("-"):
                yield Invocation(name, words[:index], words[index + 1 :], line)
                break


def never_passed(statements: Sequence[Statement]) -> str:
    """Options that stand at the beginning of a command: a comment cut them off from the one above; "" for none."""
    return " ".join(word for words, _ in statements if words and words[0].startswith("--") for word in words)


def parser_of(options: ScriptOptions) -> argparse.ArgumentParser:
    """The script's parser, which gives what was said and no defaults, and raises in place of leaving."""
    parser = argparse_parser(options, whole=False)
    for action in parser._actions:  # noqa: SLF001 - what argparse offers no other way to
        action.default = argparse.SUPPRESS

    def refuse(message: str) -> NoReturn:
        raise _RefusedError(message)

    parser.error = refuse  # type: ignore[method-assign]
    return parser


def read_words(words: Sequence[str], setup: Setup) -> dict[str, Any]:
    """The options of a command line, each read alone, so that all that is wrong is known in one go."""
    parser, given = parser_of(setup.options), dict[str, Any]()
    for group in _groups(words):
        flag = group[0].partition("=")[0]
        if any(OPEN in word for word in group):
            shown = " ".join(group).replace(OPEN, "")
            setup.note(flag.lstrip("-"), f"{shown}: computed or set elsewhere, left open: write the value yourself")
            continue
        try:
            found, extra = parser.parse_known_args(group)
        except _RefusedError as fault:
            names = [one.name for one in setup.options.values() if flag in one.flags]
            value = " ".join(group[1:]) if "=" not in group[0] else group[0].partition("=")[2]
            if names == ["max_token_length"] and value == "75":  # what it does without the option
                given["max_token_length"] = 75
            else:
                setup.note(flag.lstrip("-"), f"the trainer refuses {' '.join(group)}: {fault}")
            continue
        values = vars(found)
        if extra and values and len(values) == 1 and isinstance(next(iter(values.values())), str):
            name, value = next(iter(values.items()))
            values = {name: " ".join([value, *extra])}
            setup.note(name, f"'{' '.join(extra)}' stands alone, the trainer refuses it: read as part of {name}")
        elif extra:
            setup.note(flag.lstrip("-"), f"{setup.script} has no {' '.join(extra)}: the trainer refuses the command")
        given |= values
    return given


def _groups(words: Sequence[str]) -> Iterator[list[str]]:
    """Each option with its values, as argparse tells them apart."""
    group: list[str] = []
    for word in words:
        begins = word.startswith("-") and word != "-" and " " not in word.partition("=")[0]
        if begins and not NEGATIVE_NUMBER.match(word) and group:
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def read_launcher(words: Sequence[str], setup: Setup) -> None:
    """The variables before a command, and the options of accelerate between ``launch`` and the script."""
    rest: list[str] = []
    for word in words:
        if (found := re.fullmatch(r"(\w+)=(.*)", word)) and not rest:
            told_variable(found[1], setup)
        else:
            rest.append(word)
    if not any("accelerate" in word for word in rest):
        return
    start = next((n + 1 for n, word in enumerate(rest) if word == "launch" or word.endswith(".launch")), len(rest))
    for group in _groups(rest[start:]):
        name, equals, value = group[0].lstrip("-").replace("-", "_").partition("=")
        setup.launch[name] = value if equals else True if len(group) == 1 else ",".join(group[1:])


SECRETS = {"HF_TOKEN": "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN": "HF_TOKEN", "WANDB_API_KEY": "WANDB_API_KEY"}


def told_variable(name: str, setup: Setup) -> None:
    """A variable of the environment that the file sets: a secret is named, never shown."""
    if name in SECRETS:
        setup.secrets[name] = SECRETS[name]
    elif re.match(r"CUDA_|NCCL_|PYTORCH_|TORCH_|OMP_|HF_|HSA_|XFORMERS_", name):
        setup.note(name, f"export {name} in your shell before the launch, as the file does")
