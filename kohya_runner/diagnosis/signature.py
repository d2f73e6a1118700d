"""The table of causes, read from ``causes/*.toml``: how an error shows itself, what it means, what to do."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kohya_runner.tables import read_table
from kohya_runner.text import masked_option

_COMMAND = re.compile(r"CalledProcessError: Command '(\[.*\])' (?:returned non-zero|died with)")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Known:
    """The script's name and its options; both are empty where nobody knows."""

    script: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def has(self, option: str) -> bool:
        return option in self.options

    def value(self, option: str) -> str:
        """What was given for it, "" for nothing; never a secret."""
        return str(masked_option(option, self.options.get(option, "")))[:_SHOWN]

    @property
    def shown(self) -> str:
        """All options as they were given; never a secret."""
        return " ".join(f"--{name} {masked_option(name, value)}".rstrip() for name, value in self.options.items())


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


CAUSES = Path(__file__).with_name("causes")
KINDS = (
    "memory", "gpu", "distributed", "resume", "sampling", "data", "files", "networks", "families", "numbers", "hub",
    "options", "loggers", "compilers", "packages", "system",
)  # fmt: skip
"""The files of ``causes``. Where two rows have equal evidence in the same line, the first one counts."""

Level = Literal["error", "warning"]
"""An ``error`` ends a run or spoils what it makes; a ``warning`` is worth knowing when something is odd."""

_PLACE = re.compile(r"\{(now|found):([a-z0-9_|]+)\}")
_TEXT = re.compile(r"\{text:(\w+)\}")
_EMPTY = re.compile(r" \(\)|:? (?=[,;]|$)")


@dataclass(frozen=True, slots=True)
class Do:
    """A thing to do. Left out where the run has the option ``unless`` already, or its script has no ``only`` in it.

    ``sure``: also where nobody knows the script. ``having``: only where the run has this option.
    ``{found:name|other}`` is a named group of the pattern or its evidence; ``{now:option}`` becomes `` (now 4)``, or
    nothing where it is not known what the run has.
    """

    text: str
    unless: str = ""
    only: str = ""
    sure: bool = False
    having: str = ""

    def applies(self, known: Known) -> bool:
        """Whether it would change anything for this run."""
        wrong_script = bool(self.only and (known.script or self.sure)) and not re.search(self.only, known.script)
        lacks = bool(self.having) and not known.has(self.having)
        return not wrong_script and not lacks and not (self.unless and known.has(self.unless))


@dataclass(frozen=True, slots=True)
class Sign:
    """One way in which a cause shows itself: ``pattern`` in a line of the error, and the evidence it asks for.

    ``raises`` is the exception's class, ``frame`` a frame of the traceback (``library/train_util.py:12 in f: code``),
    ``also`` another line of the same error, ``before`` a line of the log before it, ``script`` the script that ran,
    ``unless`` a line or frame that speaks against it. All of them must hold; each that is asked for makes the row
    stronger.
    """

    pattern: re.Pattern[str]
    raises: re.Pattern[str] | None = None
    frame: re.Pattern[str] | None = None
    also: re.Pattern[str] | None = None
    before: re.Pattern[str] | None = None
    script: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """What it asks for beside its words."""
        named = {
            "class": self.raises,
            "frame": self.frame,
            "message": self.also,
            "log": self.before,
            "script": self.script,
        }
        return tuple(name for name, pattern in named.items() if pattern)


@dataclass(frozen=True, slots=True)
class Signature:
    """A cause and its signs, each searched in single lines, in time that grows with their length alone.

    ``anywhere``: the line counts wherever it stands; otherwise only as the error that ended the run. ``vague``: every
    other row goes before it. ``source`` is where it comes from: issues, or the file and line of the pinned commit.
    """

    code: str
    signs: tuple[Sign, ...]
    cause: str
    fixes: tuple[Do, ...]
    source: str
    level: Level = "error"
    anywhere: bool = False
    vague: bool = False


@cache
def table() -> tuple[Signature, ...]:
    """Every row, read when the first log is diagnosed; each has its own code."""
    return tuple(row for kind in KINDS for row in read_rows(CAUSES / f"{kind}.toml"))


def read_rows(file: Path) -> tuple[Signature, ...]:
    """The rows of one file. Raises ValueError with the file, the row and what is wrong in it."""
    held = read_table(file)
    texts = held.get("texts", {})
    return tuple(_row(f"{file.name}, row {n}", said, texts) for n, said in enumerate(held["causes"], start=1))


def _row(place: str, said: dict[str, Any], texts: Mapping[str, str]) -> Signature:
    try:
        filled_in = _with_texts(said, texts)
        signs = tuple(map(_sign, filled_in.pop("signs")))
        fixes = tuple(Do(fix) if isinstance(fix, str) else Do(**fix) for fix in filled_in.pop("fixes"))
        return Signature(signs=signs, fixes=fixes, **filled_in)
    except (TypeError, KeyError, re.error) as fault:
        raise ValueError(f"{place} ({said.get('code', 'no code')}): {fault}") from fault


def _with_texts(value: Any, texts: Mapping[str, str]) -> Any:
    """The value with every ``{text:name}`` in it replaced by the file's text of that name."""
    if isinstance(value, str):
        return _TEXT.sub(lambda match: texts[match[1]], value)
    if isinstance(value, list):
        return [_with_texts(one, texts) for one in value]
    return {key: _with_texts(one, texts) for key, one in value.items()} if isinstance(value, dict) else value


def _sign(said: str | dict[str, Any]) -> Sign:
    """A text is a sign that asks for nothing else; a list is the alternatives of one expression."""
    asked = {"pattern": said} if isinstance(said, str) else said
    return Sign(**{name: re.compile(text if isinstance(text, str) else "|".join(text)) for name, text in asked.items()})


def filled(text: str, found: Mapping[str, str | None], known: Known) -> str:
    """The text with what was found in the line and what the run was given."""

    def value(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "found":
            return next((said for one in name.split("|") if (said := found.get(one))), "")
        now = known.value(name)
        return f" (now {now})" if now else ""

    return _EMPTY.sub("", _PLACE.sub(value, text)) if "{found:" in text else _PLACE.sub(value, text)
