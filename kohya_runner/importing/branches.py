"""The commands of a script or a notebook in their order: assignments and conditions with literal values followed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kohya_runner.importing.setup import OPEN
from kohya_runner.importing.words import (
    Dialect,
    Lexed,
    Variables,
    Word,
    batch,
    dialect_of,
    expanded,
    lexed,
    opened,
    without_prompts,
)


class Statement(NamedTuple):
    """A command with its variables replaced, and the line where it begins."""

    words: tuple[str, ...]
    line: int


def statements(text: str, known: Variables, dialect: Dialect | None = None) -> list[Statement]:
    """Every command that runs, or may run; ``known`` gets the variables of the script."""
    text = without_prompts(text)
    dialect = dialect or dialect_of(text)
    if dialect == "bat":
        return [Statement(words, line) for words, line in batch(text, known)]
    known |= {"true": ["True"], "false": ["False"], "null": [""]} if dialect == "ps1" else {}
    script = _Script(dialect, known)
    return [one for command in lexed(text, dialect) for one in script.follow(command)]


_NUMBERS = {"-eq": "==", "-ne": "!=", "-gt": ">", "-ge": ">=", "-lt": "<", "-le": "<=", "=": "==", "==": "==",
            "!=": "!="}  # fmt: skip
_SET = re.compile(r"(?P<name>\w+)(?P<more>\+?)=")
_PS_SET = re.compile(r"\$(?:env:|script:|global:)?(?P<name>\w+)$", re.IGNORECASE)
_PS_ADD = re.compile(r"\$(?P<name>\w+)\.Add(?:Range)?$", re.IGNORECASE)


@dataclass(slots=True)
class _Branch:
    """Whether this branch runs: yes, no, or only the machine knows (None). ``depth``: of braces, in PowerShell."""

    runs: bool | None
    done: bool | None = False
    depth: int = 0


@dataclass(slots=True)
class _Script:
    dialect: Dialect
    known: Variables
    stack: list[_Branch] = field(default_factory=list)
    depth: int = 0
    before: tuple[str, list[str]] = ("", [])  # the sign that ended the last command of PowerShell, its raw words
    word: str = ""  # "if" or "elseif" whose condition is being read
    condition: list[Word] = field(default_factory=list)
    closed: _Branch | None = None  # the branch that ended just now: an else may follow

    @property
    def runs(self) -> bool | None:
        states = [branch.runs for branch in self.stack]
        return False if False in states else None if None in states else True

    def follow(self, command: Lexed) -> Iterator[Statement]:
        """Take note of one command; itself, where it is one that may run."""
        if self.dialect == "ps1" and self._braces(command):
            return
        words = command.words
        if self.dialect == "sh":
            words = self._keyword(words)
        if not words or self.runs is False or self._assigned(words):
            return
        yield Statement(tuple(one for word in words for one in expanded(word, self.known, self.dialect)), command.line)

    def _keyword(self, words: list[Word]) -> list[Word]:
        """``if``, ``else`` and their kind of sh; what stands behind them."""
        first = words[0].raw if words else ""
        if first == "if":
            self.stack.append(_Branch(runs := self._holds(words[1:]), runs))
            return []
        if first in ("elif", "else") and self.stack:
            branch = self.stack[-1]
            runs = self._holds(words[1:]) if first == "elif" else True
            branch.runs = False if branch.done else None if branch.done is None and runs else runs
            branch.done = branch.done or runs
            return [] if first == "elif" else words[1:]
        if first == "fi" and self.stack:
            self.stack.pop()
            return []
        return words[1:] if first in ("then", "do", "fi", "done", "export", "local", "declare", "readonly") else words

    def _braces(self, command: Lexed) -> bool:
        """The same for PowerShell, whose conditions stand in brackets and whose branches in braces."""
        words, end = command.words, command.end
        raw = [word.raw for word in words]
        ended, (sign, last) = False, self.before
        self.before = (end, raw)
        if self.word and end != "{":
            self.condition += words
            return True
        if end == "(" and raw and raw[0].lower() in ("if", "elseif"):
            self.word, ended = raw[0].lower(), True
        elif end == "{":
            self._enter(raw)
            ended = True
        elif end == "}":
            self._leave_after(words)
            ended = True
        elif sign == "(" and last and (found := _PS_ADD.search(last[-1])):
            if self.runs is not False:
                self._set(found["name"], words, more=True)
            ended = True
        return ended or bool(end == "(" and raw and _PS_ADD.search(raw[-1]))

    def _enter(self, raw: list[str]) -> None:
        self.depth += 1
        if self.word:
            runs = self._holds(self.condition)
            if self.word == "elseif" and self.closed:
                runs = False if self.closed.done else runs
            self.stack.append(_Branch(runs, runs, self.depth))
        elif raw and raw[0].lower() == "else" and self.closed:
            done = self.closed.done
            self.stack.append(_Branch(None if done is None else not done, True, self.depth))
        self.word, self.condition, self.closed = "", [], None

    def _leave_after(self, words: list[Word]) -> None:
        if words and self.runs is not False:
            self._assigned(words)
        if self.stack and self.stack[-1].depth == self.depth:
            self.closed = self.stack.pop()
        self.depth -= 1

    def _assigned(self, words: Sequence[Word]) -> bool:
        """Whether this was an assignment; it is taken note of."""
        first = words[0].raw
        if self.dialect == "sh":
            pairs = [(word, found) for word in words if (found := _SET.match(word.raw))]
            if len(pairs) != len(words):
                return False
            for word, found in pairs:
                head, *rest = word.pieces
                tail = (head[0], head[1][len(found.group()) :])
                self._set(found["name"], [Word([tail, *rest] if tail[1] else rest)], more=bool(found["more"]))
            return True
        name = _PS_SET.match(first.removeprefix("[void]"))
        if not name or len(words) < 2 or words[1].raw not in ("=", "+="):
            return False
        self._set(name["name"], [] if words[-1].raw.startswith("[System") else words[2:], more=words[1].raw == "+=")
        return True

    def _set(self, name: str, words: Sequence[Word], *, more: bool) -> None:
        name = name.lower() if self.dialect == "ps1" else name
        values = self._joined(words)
        if self.runs is None:
            values = [opened(f"${name}")]
        if not more and not values and not any(quote == "(" for word in words for quote, _ in word.pieces):
            values = [] if self.dialect == "ps1" else [""]
        self.known[name] = [*self.known.get(name, []), *values] if more else values

    def _joined(self, words: Sequence[Word]) -> list[str]:
        """The words, those around a plus sign of PowerShell as one."""
        found: list[str] = []
        for number, word in enumerate(words):
            if self.dialect == "ps1" and word.raw == "+":
                continue
            more = expanded(word, self.known, self.dialect)
            if self.dialect == "ps1" and number and words[number - 1].raw == "+" and found and more:
                found[-1] += more.pop(0)
            found += more
        return found

    def _holds(self, words: Sequence[Word]) -> bool | None:
        """Whether a condition between literal values holds; None for any other."""
        said = [one for word in words for one in (expanded(word, self.known, self.dialect) or [""])]
        said = [one for one in said if one not in ("[", "]", "[[", "]]", "test")]
        if any(OPEN in one for one in said):
            return None
        match said:
            case ["-n", text]:
                return bool(text)
            case ["-z", text]:
                return not text
            case [left, operator, right] if operator.lower() in _NUMBERS:
                return _compared(left, _NUMBERS[operator.lower()], right)
            case [text] if self.dialect == "ps1":
                return text.lower() not in ("", "0", "false")
            case _:
                return None


def _compared(left: str, operator: str, right: str) -> bool | None:
    try:
        a, b = float(left), float(right)
    except ValueError:
        same = left.lower() == right.lower()
        return {"==": same, "!=": not same}.get(operator)
    return {"==": a == b, "!=": a != b, ">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[operator]


_ASSIGNED = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*(?::\s*\w+\s*)?=\s*(?P<value>[^=].*?)\s*(?:#\s*@param.*)?$")
_ENV = re.compile(r"^%(?:set_)?env\s+(\w+)[=\s](.*)$|^os\.environ\[['\"](\w+)['\"]\]\s*=\s*(.*)$")
_BRACES = re.compile(r"(?<!\$)\{(\w+)\}")


def script_of(cells: Iterable[Mapping[str, Any]]) -> str:
    """The cells of a notebook as one script; Python that is neither a literal assignment nor a command is left out."""
    lines: list[str] = []
    for cell in cells:
        source = cell.get("source") or ""
        text = source if isinstance(source, str) else "".join(source)
        if cell.get("cell_type", "code") == "code":
            lines += _cell(text)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> Iterator[str]:
    if re.match(r"\s*%%(?:bash|sh|shell|script)", text):
        yield from text.lstrip().split("\n")[1:]
        return
    joined = re.sub(r"\\[ \t]*\n", "\\\n", text)
    going = False
    for line in joined.split("\n"):
        if going or line.lstrip().startswith("!"):
            going = line.endswith("\\")
            yield _BRACES.sub(r"${\1}", line.lstrip().removeprefix("!") if line.lstrip().startswith("!") else line)
        elif found := _ENV.match(line.strip()):
            name, value = found[1] or found[3], found[2] or found[4] or ""
            yield f"export {name}={shlex.quote(value)}"
        elif found := _ASSIGNED.match(line.strip()):
            yield _assignment(found["name"], found["value"])


def _assignment(name: str, value: str) -> str:
    """A literal as the shell gets it; anything else is computed."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = ast.literal_eval(value)
        if isinstance(found, (str, int, float, bool)):
            return f"{name}={shlex.quote(str(found))}"
    return f"{name}=$(computed in Python)"
