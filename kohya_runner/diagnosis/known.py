"""What is known of the run that failed: the options it was given, from its record or from the end of its own log."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kohya_runner.text import masked_option

_COMMAND = re.compile(r"CalledProcessError: Command '(\[.*\])' (?:returned non-zero|died with)")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Known:
    """The script's name and its options; both are empty where nobody knows."""

    script: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def has(self, option: str) -> bool:
        """Whether the run has this option."""
        return option in self.options

    def value(self, option: str) -> str:
        """What was given for it, "" for nothing; never a secret."""
        return str(masked_option(option, self.options.get(option, "")))[:_SHOWN]


NOTHING = Known()


def from_argv(argv: Sequence[str]) -> Known:
    """The options of a command line, accelerate's own left out."""
    script = next((n for n, token in enumerate(argv) if token.endswith(".py") and not token.startswith("-")), None)
    if script is None:
        script = next((n for n, token in enumerate(argv) if token.endswith("kohya_runner.practice.trainer")), None)
    if script is None:
        return NOTHING
    options: dict[str, str] = {}
    name = ""
    for token in argv[script + 1 :]:
        if token.startswith("--"):
            name, _, value = token[2:].partition("=")
            options[name] = value
        elif name:
            options[name] = f"{options[name]} {token}".strip()
    return Known(argv[script].rpartition("/")[2], options)


def from_wall(line: str) -> Known:
    """The options that accelerate's last words repeat: a Python list, read as data."""
    match = _COMMAND.search(line)
    try:
        tokens = ast.literal_eval(match.group(1)) if match else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return NOTHING
    return from_argv([str(token) for token in tokens])


def from_shell(line: str) -> Known:
    """The options of a command line that a window or a script has echoed before it ran it."""
    if ".py" not in line or "launch" not in line:
        return NOTHING
    try:
        tokens = shlex.split(line[line.find("accelerate") :].replace("\\", "/"))
    except ValueError:
        return NOTHING
    return from_argv([token.strip('"^`') for token in tokens])
