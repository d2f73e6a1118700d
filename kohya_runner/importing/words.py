"""Scripts of three shells as words. Nothing is executed: literal variables are followed, computed ones are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kohya_runner.importing.setup import OPEN

Dialect = Literal["sh", "bat", "ps1"]
Variables = dict[str, list[str]]

_BAT = re.compile(
    r"^\s*(?:@?echo off|set\s+\S|rem\s|::)|\^[ \t]*$|%\w+%|[\s=\"'][A-Za-z]:\\", re.IGNORECASE | re.MULTILINE
)
_PS1 = re.compile(r"`[ \t]*$|^\s*\$(?:env:)?\w+\s*\+?=|^\s*\[void\]", re.IGNORECASE | re.MULTILINE)
_SH = re.compile(r"^#!.*sh\b|\\[ \t]*$", re.MULTILINE)
_PROMPT = re.compile(r"^\s*(?:\(\S+\)\s*)?(?:\$|>|!|PS [^>\n]*>|[A-Za-z]:\\[^>\n]*>)\s+(?=\S)", re.MULTILINE)
_HERE = re.compile(r"dirname|BASH_SOURCE|PSScriptRoot|^\(?\s*pwd\s*\)?$|~dp0")
_NAME = {
    "sh": re.compile(r"\$\{(\w+)(?:\[[@*]\])?(?::?[-=]([^}]*))?\}|\$(\w+|[@*])|\$\{[^}]*\}"),
    "ps1": re.compile(r"\$\{?(?:env:|script:|global:)?(\w+)\}?", re.IGNORECASE),
    "bat": re.compile(r"%(~dp0)|%(\w+)%|(%)%|!(\w+)!"),
}
_PERCENT = re.compile(r"%(~dp0)|%(\w+)%|(%)%")
_PLAIN = re.compile(r"\$\{[^}]*\}|\$?[^\s\"'`;&|<>(){}$\\,]+|.", re.DOTALL)
_ENDS = frozenset("\n;&|<>(){}")


class Word(NamedTuple):
    """Pieces of text, each with how it was quoted.

    "'": as it is, '"': with variables, "": may split, "(": a list, "$": a command whose output nobody knows.
    """

    pieces: list[tuple[str, str]]

    @property
    def raw(self) -> str:
        """The text before variables are replaced."""
        return "".join(text for _, text in self.pieces)


class Lexed(NamedTuple):
    """The words of one command, the line where it begins, and the sign that ended it."""

    words: list[Word]
    line: int
    end: str


def dialect_of(text: str) -> Dialect:
    """Told by what only one of them has."""
    return "sh" if _SH.search(text) else "ps1" if _PS1.search(text) else "bat" if _BAT.search(text) else "sh"


def without_prompts(text: str) -> str:
    return _PROMPT.sub("", text.replace("\r\n", "\n"))


@dataclass(slots=True)
class _Lexer:
    text: str
    listing: bool  # in a list of PowerShell a comma parts words
    at: int = 0
    line: int = 1
    words: list[Word] = field(default_factory=list)
    open: bool = False  # whether the last word goes on

    def add(self, quote: str, text: str) -> None:
        if not self.open:
            self.words.append(Word([]))
        self.open = True
        self.words[-1].pieces.append((quote, text))

    def take(self, end: int) -> str:
        piece, self.at = self.text[self.at : end], end
        self.line += piece.count("\n")
        return piece


def lexed(text: str, dialect: Dialect, *, listing: bool = False) -> Iterator[Lexed]:
    """The commands of a script. A comment ends one, whatever stands at the end of its line."""
    lexer, begun = _Lexer(text, listing and dialect == "ps1"), 1
    escape, joined = ("\\", r"\\\n") if dialect == "sh" else ("`", r"`[ \t]*\n")
    while lexer.at < len(text):
        sign = text[lexer.at]
        if sign == escape and (found := re.compile(joined).match(text, lexer.at)):
            lexer.take(found.end())
        elif sign == escape:
            lexer.add("'", lexer.take(lexer.at + 2)[1:])
        elif sign == "#" and not lexer.open:
            lexer.take(_find(text, "\n", lexer.at))
        elif sign in " \t" or (lexer.listing and sign == ","):
            lexer.take(lexer.at + 1)
            lexer.open = False
        elif sign in "\"'":
            _quoted(lexer, sign, escape)
        elif text.startswith(("$(", "@("), lexer.at) or sign == "`":
            _nested(lexer)
        elif sign in _ENDS:
            if sign == ">" and lexer.open and lexer.words[-1].raw.isdigit():  # 2>&1
                lexer.words.pop()
            yield Lexed(lexer.words, begun, lexer.take(lexer.at + 1))
            lexer.words, lexer.open, begun = [], False, lexer.line
        else:
            _bare(lexer, dialect)
    yield Lexed(lexer.words, begun, "\n")


def _bare(lexer: _Lexer, dialect: Dialect) -> None:
    found = _PLAIN.match(lexer.text, lexer.at)
    end = found.end() if found else lexer.at + 1
    lexer.add("", lexer.take(end))
    if dialect == "sh" and lexer.text[end : end + 1] == "(" and lexer.text[end - 1] == "=":
        lexer.add("(", lexer.take(_closing(lexer.text, end)))  # NAME=( ... )


def _quoted(lexer: _Lexer, quote: str, escape: str) -> None:
    """A quoted piece without its quotes; a command in double ones may have quotes of its own."""
    lexer.take(lexer.at + 1)
    done = ""
    while lexer.at < len(lexer.text):
        sign = lexer.text[lexer.at]
        if (
            sign == quote and escape == "`" and lexer.text[lexer.at + 1 : lexer.at + 2] == quote
        ):  # PowerShell doubles it
            done += lexer.take(lexer.at + 2)[1:]
        elif sign == quote:
            break
        elif quote == '"' and lexer.text.startswith("$(", lexer.at):
            lexer.add(quote, done)
            done = ""
            _nested(lexer)
        elif quote == '"' and sign == escape:
            pair = lexer.take(lexer.at + 2)
            special = escape == "`" or pair[1:] in '"\\$`\n'
            done += pair[1:].replace("\n", "").replace("$", OPEN * 2) if special else pair
        else:
            done += lexer.take(lexer.at + 1)
    lexer.take(lexer.at + 1)
    lexer.add(quote, done)


def _nested(lexer: _Lexer) -> None:
    """``$( )`` and backquotes are commands, ``@( )`` is a list."""
    sign = lexer.text[lexer.at]
    end = _find(lexer.text, "`", lexer.at + 1) + 1 if sign == "`" else _closing(lexer.text, lexer.at + 1)
    inside = lexer.take(end)
    lexer.add("(" if sign == "@" else "$", inside.strip("`").lstrip("@$"))


def _closing(text: str, at: int) -> int:
    """Behind the bracket that closes the one at ``at``."""
    depth, quote = 0, ""
    for index in range(at, len(text)):
        sign = text[index]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign == "(") - (sign == ")")
            if not depth:
                return index + 1
    return len(text)


def _find(text: str, sign: str, at: int) -> int:
    found = text.find(sign, at)
    return len(text) if found < 0 else found


def expanded(word: Word, known: Variables, dialect: Dialect) -> list[str]:
    """The words that one becomes: a list many, an unquoted variable that is empty none."""
    found: list[str] = []
    joined = False  # whether the next piece goes on with the last word
    for quote, text in word.pieces:
        parts = [text]
        if quote == "(":
            inner = lexed(text[1:-1], dialect, listing=True)
            parts = [one for command in inner for word in command.words for one in expanded(word, known, dialect)]
        elif quote == "$":
            inside = text.strip("() ")
            named = dialect == "ps1" and re.fullmatch(r"\$\w+", inside)
            parts = _replaced(inside, known, dialect) if named else ["." if _HERE.search(text) else opened(text)]
        elif quote != "'":
            parts = _replaced(text, known, dialect)
            if quote == "" and "$" in text and dialect == "sh":
                parts = [one for part in parts for one in part.split()]
        if joined and found and parts:
            found[-1] += parts[0]
            parts = parts[1:]
        found += parts
        joined = bool(found)
    return [one.replace(OPEN * 2, "$") for one in found]


def opened(name: str) -> str:
    """The mark of something computed."""
    return f"{OPEN}{'$' if name.startswith('(') else ''}{name}{OPEN}"


def _replaced(text: str, known: Variables, dialect: Dialect) -> list[str]:
    """The text with its variables; one that is a list, alone, is several words."""
    pattern = _NAME[dialect]
    alone = pattern.fullmatch(text) or (re.fullmatch(r"@(\w+)", text) if dialect == "ps1" else None)
    if alone:
        return _value(alone, known)
    return [pattern.sub(lambda found: " ".join(_value(found, known)), text)]


def _value(found: re.Match[str], known: Variables) -> list[str]:
    given = [one for one in found.groups() if one is not None]
    name = given[0] if given else ""
    if name == "%":
        return ["%"]
    values = known.get(name, known.get(name.lower()))
    if values is not None and (values != [""] or len(given) < 2):
        return values
    if len(given) > 1:  # ${NAME:-default}, ${NAME:=default}
        default = [given[1].strip("\"'")]
        known |= {name: default} if "=" in found.group().partition(name)[2][:2] else {}
        return default
    return ["."] if _HERE.search(found.group()) or name == "PWD" else [opened(found.group())]


_SET = re.compile(r"set\s+(?P<flag>/\w\s+)?(?P<quote>\"?)(?P<name>[\w.]+)=(?P<value>.*)", re.IGNORECASE | re.DOTALL)


def batch(text: str, known: Variables) -> Iterator[tuple[tuple[str, ...], int]]:
    """The commands of a batch file: a caret joins lines, names between percent signs are replaced before all else."""
    joined, begun = "", 1
    names = _NAME["bat"] if "enabledelayedexpansion" in text.lower() else _PERCENT
    for number, raw in enumerate([*text.split("\n"), ""], start=1):
        begun = begun if joined else number
        joined += raw.lstrip(" \t") if joined else raw
        if re.search(r"(?<!\^)\^[ \t]*$", raw):
            joined = re.sub(r"\^[ \t]*$", " ", joined)
            continue
        line, joined = joined.strip(" \t").lstrip("@"), ""
        found = _SET.match(line)
        if not found and re.match(r"rem\b|::", line, re.IGNORECASE):
            continue
        replaced = names.sub(lambda found: " ".join(_value(found, known)), (found["value"] if found else line))
        if found:
            value = replaced.rpartition('"')[0] if found["quote"] else replaced
            known[found["name"].lower()] = [opened(f"%{found['name']}%") if found["flag"] else value]
        else:
            yield from ((tuple(_argv(command)), begun) for command in _commands(replaced) if command.strip(" \t"))


def _commands(line: str) -> Iterator[str]:
    """A line as cmd.exe takes it apart: a caret protects the next sign, ``&`` and its kind end a command."""
    done, quoted, at = "", False, 0
    while at < len(line):
        sign = line[at]
        quoted ^= sign == '"'
        if sign == "^" and not quoted:
            at += 1
            done += line[at : at + 1]
        elif sign in "&|<>" and not quoted:
            yield done
            done = ""
        else:
            done += sign
        at += 1
    yield done


def _argv(line: str) -> Iterator[str]:
    """Words as Windows programs get them: backslashes count only before a quote, two quotes in quotes are one."""
    for found in re.finditer(r'(?:[^ \t"]|"(?:\\.|[^"\\])*(?:"|$))+', line):
        word, quoted = "", False
        for part in re.findall(r'\\*"|[^"\\]+|\\+', found.group()):
            slashes = part.count("\\") if part.endswith('"') else 0
            word += "\\" * (slashes // 2) if part.endswith('"') else part
            if part.endswith('"') and slashes % 2:
                word += '"'
            elif part.endswith('"'):
                quoted = not quoted
        yield word
