"""One row of the table of causes: how an error shows itself, what it means, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.diagnosis.known import Known

Level = Literal["error", "warning"]
"""An ``error`` ends a run or spoils what it makes; a ``warning`` is worth knowing when something is odd."""

_PLACE = re.compile(r"\{(now|found):([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Do:
    """A thing to do. Left out where the run has the option ``unless`` already, or its script has no ``only`` in it.

    ``{found:name}`` is a named group of the pattern; ``{now:option}`` becomes `` (now 4)``, or nothing where it is not
    known what the run has.
    """

    text: str
    unless: str = ""
    only: str = ""

    def applies(self, known: Known) -> bool:
        """Whether it would change anything for this run."""
        wrong_script = bool(self.only and known.script) and not re.search(self.only, known.script)
        return not wrong_script and not (self.unless and known.has(self.unless))


@dataclass(frozen=True, slots=True)
class Signature:
    """``pattern`` is searched in single lines, in time that grows with their length alone.

    ``anywhere``: the line counts wherever it stands; otherwise only as the error of the traceback that ended the run,
    or after the last step. ``source`` is where it comes from: issues, or the file and line of the pinned commit.
    """

    code: str
    pattern: re.Pattern[str]
    cause: str
    fixes: tuple[Do, ...]
    source: str
    level: Level = "error"
    anywhere: bool = False


def row(code: str, pattern: str, cause: str, *fixes: str | Do, source: str, **more: object) -> Signature:
    """A row with its pattern compiled."""
    dos = tuple(Do(fix) if isinstance(fix, str) else fix for fix in fixes)
    level: Level = "warning" if more.get("warning") else "error"
    return Signature(code, re.compile(pattern), cause, dos, source, level, bool(more.get("anywhere")))


def filled(text: str, found: Mapping[str, str | None], known: Known) -> str:
    """The text with what was found in the line and what the run was given."""

    def value(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "found":
            return found.get(name) or "?"
        now = known.value(name)
        return f" (now {now})" if now else ""

    return _PLACE.sub(value, text)
