"""One row of the table of causes: how an error shows itself, what it means, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kohya_runner.diagnosis.known import Known

Level = Literal["error", "warning"]
"""An ``error`` ends a run or spoils what it makes; a ``warning`` is worth knowing when something is odd."""

_PLACE = re.compile(r"\{(now|found):([a-z0-9_|]+)\}")
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
    ``unless`` a line that speaks against it. All of them must hold; each one that is asked for makes the row stronger.
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


def sign(pattern: str, **asked: str) -> Sign:
    """A sign with its patterns compiled."""
    return Sign(re.compile(pattern), **{name: re.compile(text) for name, text in asked.items()})


def row(code: str, signs: str | Sign | Sequence[Sign], cause: str, *fixes: str | Do, **more: str | bool) -> Signature:
    """A row; a text in place of its signs is the pattern of one that asks for nothing else."""
    shows = (sign(signs),) if isinstance(signs, str) else (signs,) if isinstance(signs, Sign) else tuple(signs)
    dos = tuple(Do(fix) if isinstance(fix, str) else fix for fix in fixes)
    level: Level = "warning" if more.get("warning") else "error"
    return Signature(
        code, shows, cause, dos, str(more["source"]), level, bool(more.get("anywhere")), bool(more.get("vague"))
    )


def filled(text: str, found: Mapping[str, str | None], known: Known) -> str:
    """The text with what was found in the line and what the run was given."""

    def value(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "found":
            return next((said for one in name.split("|") if (said := found.get(one))), "")
        now = known.value(name)
        return f" (now {now})" if now else ""

    return _EMPTY.sub("", _PLACE.sub(value, text)) if "{found:" in text else _PLACE.sub(value, text)
