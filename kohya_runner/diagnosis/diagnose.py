"""From a log to the reason why the run ended as it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kohya_runner.diagnosis import tracebacks
from kohya_runner.diagnosis.signature import Level, Signature, filled
from kohya_runner.diagnosis.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kohya_runner.diagnosis.known import Known
    from kohya_runner.diagnosis.lines import Log

LAST = 200
"""Lines at the end in which a run that left no traceback may have said why."""
BEFORE = 40
"""Lines before a traceback in which the trainer may have said more than the exception does."""
LONGEST = 300
SAVED = "model saved."
VAGUE = ("interrupted", "zero-division", "refused")
"""Rows that say little: any other cause in the same log goes before them."""
_COMPLAINTS = ("error", "cannot", "could not", "not found", "killed")

Outcome = Literal["succeeded", "failed", "unfinished"]


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the table that this log shows, filled with what the run was given; ``line`` is where it shows."""

    code: str
    cause: str
    fixes: tuple[str, ...]
    source: str
    level: Level = "error"
    line: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a log says. ``causes`` are those that explain the end, the likeliest first; ``warnings`` explain nothing."""

    outcome: Outcome
    causes: tuple[Cause, ...] = ()
    warnings: tuple[Cause, ...] = ()
    traceback: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    step: int = -1
    total: int = 0

    @property
    def understood(self) -> bool:
        """Whether there is nothing left to ask: a cause was found, or the run came to its end."""
        return bool(self.causes) or self.outcome == "succeeded"

    def as_json(self) -> dict[str, Any]:
        """For ``diagnose --json`` and the record."""
        return {
            "outcome": self.outcome,
            "causes": [_cause_json(cause) for cause in self.causes],
            "warnings": [_cause_json(cause) for cause in self.warnings],
            "traceback": list(self.traceback),
            "last_lines": list(self.last_lines),
            "step": self.step if self.step >= 0 else None,
            "total": self.total or None,
        }


def diagnose(log: Log, known: Known | None = None, ending: str = "") -> Diagnosis:
    """The diagnosis. ``ending`` is how the process is known to have ended, where it is known."""
    known = known or log.known
    chain, wall = tracebacks.fatal(log), tracebacks.wall(log)
    texts = tuple(line.text for line in log.lines)
    saved = max((n for n, text in enumerate(texts) if text.startswith(SAVED)), default=-1)
    failed = bool(chain.parts) and chain.parts[-1].start > saved
    succeeded = saved >= 0 and not failed and not wall and not ending
    late = texts[max(log.last_step_line, len(texts) - LAST, 0) :]
    last_words = (*(text for text in late if "WARNING" not in text), wall, ending)
    hits = [] if succeeded else list(_of_chain(chain, texts)) if failed else list(_rows(last_words))
    hits += [(row, line) for line in texts for row in TABLE if row.anywhere and row.pattern.search(line)]
    found = [_cause(row, line, known) for row, line in _once(hits)]
    causes = sorted((c for c in found if c.level == "error"), key=lambda cause: cause.code in VAGUE)
    ended = failed or bool(wall or ending or causes)
    return Diagnosis(
        "succeeded" if succeeded else "failed" if ended else "unfinished",
        tuple(causes),
        tuple(cause for cause in found if cause.level == "warning"),
        chain.shown if failed else (),
        () if failed or succeeded else texts[-8:],
        log.step,
        log.total,
    )


_Hit = tuple[Signature, str]


def _of_chain(chain: tracebacks.Chain, texts: Sequence[str]) -> Iterator[_Hit]:
    """What the exceptions say, the cause first, then what the trainer complained of just before."""
    start = min(raised.start for raised in chain.parts)
    before = list(_rows([text for text in texts[max(0, start - BEFORE) : start] if _complains(text)]))
    known = {row.code: line for row, line in before}  # which often names the file
    for line in chain.errors:
        yield from ((row, known.get(row.code, found)) for row, found in _rows((line,)))
    yield from before


def _rows(lines: Sequence[str]) -> Iterator[_Hit]:
    """The first row of the table that knows one of the lines."""
    for row in TABLE:
        line = next((line for line in lines if row.pattern.search(line)), None)
        if line is not None and row.level == "error":
            yield row, line
            return


def _complains(text: str) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in _COMPLAINTS)


def _once(found: Sequence[_Hit]) -> list[_Hit]:
    """Each row with the first line that shows it."""
    first: dict[str, _Hit] = {}
    for row, line in found:
        first.setdefault(row.code, (row, line))
    return list(first.values())


def _cause(row: Signature, line: str, known: Known) -> Cause:
    match = row.pattern.search(line)
    groups = match.groupdict() if match else {}
    fixes = tuple(filled(do.text, groups, known) for do in row.fixes if do.applies(known))
    return Cause(row.code, filled(row.cause, groups, known), fixes, row.source, row.level, line[:LONGEST])


def _cause_json(cause: Cause) -> dict[str, Any]:
    return {
        "code": cause.code,
        "cause": cause.cause,
        "fixes": list(cause.fixes),
        "source": cause.source,
        "line": cause.line,
    }
