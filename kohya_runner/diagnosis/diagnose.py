"""From a log to the reason why the run ended as it did, and that reason as lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kohya_runner.diagnosis import evidence
from kohya_runner.diagnosis.evidence import Hit
from kohya_runner.diagnosis.lines import Log, read_log
from kohya_runner.diagnosis.signature import Known, Level, Signature, filled, from_argv, table
from kohya_runner.diagnosis.tracebacks import Chain
from kohya_runner.record.record import Record

LAST = 200  # lines at the end in which a run that left no traceback may have said why
BEFORE = 12  # lines before a traceback in which the trainer may have said more than the exception does
LONGEST = 300
SOME = 2000  # lines at the end in which the operating system shows itself
SAVED = "model saved."

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
    """What a log says. ``causes`` are those that explain the end, the likeliest first; ``warnings`` explain nothing.

    ``error`` is the line that ended the run, known or not; ``look`` is what to look at where no row knows it;
    ``earlier`` went wrong before it and did not end the run.
    """

    outcome: Outcome
    causes: tuple[Cause, ...] = ()
    warnings: tuple[Cause, ...] = ()
    traceback: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    step: int = -1
    total: int = 0
    error: str = ""
    look: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    @property
    def understood(self) -> bool:
        """Whether there is nothing left to ask: a cause was found, or the run came to its end."""
        return bool(self.causes) or self.outcome == "succeeded"

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "causes": [_cause_json(cause) for cause in self.causes],
            "warnings": [_cause_json(cause) for cause in self.warnings],
            "error": self.error,
            "look": list(self.look),
            "earlier": list(self.earlier),
            "traceback": list(self.traceback),
            "last_lines": list(self.last_lines),
            "step": self.step if self.step >= 0 else None,
            "total": self.total or None,
        }


def diagnose(log: Log, known: Known | None = None, ending: str = "") -> Diagnosis:
    """The diagnosis. ``ending`` is how the process is known to have ended, where it is known."""
    end, wall = evidence.ending(log), evidence.wall(log)
    chain = end.chain
    known = known or Known(evidence.script(chain) or log.known.script, log.known.options)
    texts = tuple(line.text for line in log.lines)
    # what stands in no line that rows look at
    facts = (f"[steps done: {max(log.step, 0)}]", f"[given: {known.shown}]", *_systems(texts))
    saved = max((n for n, text in enumerate(texts) if text.startswith(SAVED)), default=-1)
    failed = bool(chain.parts) and chain.parts[-1].start > saved
    succeeded = saved >= 0 and not failed and not wall and not ending
    heard = tuple("" if line.calm or n in end.noise else line.text for n, line in enumerate(log.lines))
    last = tuple(filter(None, heard[max(log.last_step_line, len(texts) - LAST, evidence.at_work(texts)) :]))
    words = (*last, *([wall] if wall else ()), *([ending] if ending else ()))
    hits = (
        []
        if succeeded
        else list(_of_chain(chain, heard, (*facts, *texts), known))
        if failed
        else list(_of_words(words, (*facts, *texts), known))
    )
    spoiled = [] if failed else list(_anywhere(texts, "error"))
    causes = tuple(
        _cause(hit, known) for hit in _once([*hits, *([] if hits and not hits[0].row.anywhere else spoiled)])
    )
    ended = (
        failed or bool(wall or ending or causes) or (not succeeded and not end.earlier and evidence.fatal_words(last))
    )
    error = chain.parts[0].error if failed else "" if succeeded else hits[0].line if hits else evidence.complaint(words)
    shown = {cause.code for cause in causes}
    seen = [hit for hit in _once(list(_anywhere(texts, "error"))) if hit.row.code not in shown] if ended else []
    told = tuple(f"{hit.line[:LONGEST]} ({hit.row.code}: {_cause(hit, known).cause})" for hit in seen)
    return Diagnosis(
        "succeeded" if succeeded else "failed" if ended else "unfinished",
        causes,
        tuple(_cause(hit, known) for hit in _once(list(_anywhere(texts, "warning")))),
        chain.shown if failed else (),
        () if failed or succeeded else texts[-8:],
        log.step,
        log.total,
        error[:LONGEST],
        evidence.places_to_look(chain, words) if ended and not causes else (),
        (*(line[:LONGEST] for line in end.earlier), *told) if not succeeded else (),
    )


_SYSTEMS = {
    "macOS": re.compile(r"/Users/[^/]+/|/opt/homebrew/|/Volumes/|MacBook|\bdarwin\b|device: mps"),
    "Windows": re.compile(r"\b[A-Za-z]:[\\/]{1,2}(?!/)\w|WinError"),
}


def _systems(texts: Sequence[str]) -> Iterator[str]:
    """The operating system, by the paths in the log; rows ask for it as for a line."""
    for name, pattern in _SYSTEMS.items():
        if any(pattern.search(text) for text in texts[-SOME:]):
            yield f"[system: {name}]"


def _of_chain(chain: Chain, heard: tuple[str, ...], texts: tuple[str, ...], known: Known) -> Iterator[Hit]:
    """What the exceptions say, the one with more evidence first, and what was complained of just before."""
    start = min(raised.start for raised in chain.parts)
    before = texts[: len(texts) - len(heard) + start]  # the facts stand first
    scenes = [
        evidence.Scene(raised.said, raised.name, tuple(f.whole for f in raised.frames), before, known.script)
        for raised in chain.parts
    ]
    found = [hit for scene in scenes if (hit := evidence.best(table(), scene))]
    found.sort(key=lambda hit: (hit.row.vague, -hit.weight))
    said = [
        text
        for text in heard[max(start - BEFORE, evidence.at_work(texts[len(texts) - len(heard) :][:start])) : start]
        if evidence.complains(text)
    ]
    said_hit = evidence.best(table(), evidence.Scene(tuple(said), before=before, script=known.script))
    if said_hit and (not found or found[0].row.vague or said_hit.row.code == found[0].row.code):
        yield said_hit  # it often names the file
    yield from found[:1]


def _of_words(words: Sequence[str], texts: Sequence[str], known: Known) -> Iterator[Hit]:
    """What a run without a traceback said at its end; Python's warnings end nothing."""
    said = tuple(text for text in words if "Warning: " not in text)
    hit = evidence.best(table(), evidence.Scene(said, before=texts, script=known.script))
    if hit:
        yield hit


def _anywhere(texts: Sequence[str], level: Level) -> Iterator[Hit]:
    rows = [row for row in table() if row.anywhere and row.level == level]
    scene = evidence.Scene((), before=texts)
    for line in texts:
        for row in rows:
            for sign in row.signs:
                match = sign.pattern.search(line)
                if match and evidence.holds(sign, scene):
                    yield evidence.Hit(row, line, 1, match.groupdict())


def _once(found: Sequence[Hit]) -> list[Hit]:
    """Each row with the first line that shows it."""
    first: dict[str, Hit] = {}
    for hit in found:
        first.setdefault(hit.row.code, hit)
    return list(first.values())


def _cause(hit: Hit, known: Known) -> Cause:
    row: Signature = hit.row
    fixes = tuple(filled(do.text, hit.groups, known) for do in row.fixes if do.applies(known))
    return Cause(row.code, filled(row.cause, hit.groups, known), fixes, row.source, row.level, hit.line[:LONGEST])


def _cause_json(cause: Cause) -> dict[str, Any]:
    return {name: value for name, value in asdict(cause).items() if name != "level"}


RAISE = {"budget.hours": "raise budget.max_hours, or write fewer epochs", "budget.cost": "raise budget.max_cost"}
MOST = 3  # causes and earlier errors that are shown; the others stay in --json


def of_run(run_dir: Path, record: Record) -> Diagnosis:
    """Why this run ended as it did: its log, its options, and how its process ended."""
    with (run_dir / record.log).open("rb") as file:
        log = read_log(file)
    ended = record.exit
    ending = f"the trainer ended with signal {ended.signal}" if ended and ended.signal else ""
    found = diagnose(log, from_argv(record.argv), "" if record.state == "succeeded" else ending)
    if ended and ended.stop:
        asked = (RAISE[ended.stop],) if ended.stop in RAISE else ()
        why = Cause(ended.stop, f"the runner stopped it: {ended.why}", asked, "")
        others = tuple(cause for cause in found.causes if cause.code != "interrupted")
        return replace(found, outcome="failed", causes=(why, *others), traceback=(), look=())
    return found


def explained(run_dir: Path, record: Record) -> str:
    """The diagnosis of a run that failed, as text; "" where its log cannot be read."""
    try:
        return "\n".join(lines(of_run(run_dir, record)))
    except OSError as error:
        return f"its log cannot be read: {error}"


def lines(found: Diagnosis) -> Iterator[str]:
    """The cause first, then what to do, then the lines of the log that show it."""
    for cause in found.causes[:1]:
        yield f"{cause.code}: {cause.cause}"
        yield from (f"  -> {fix}" for fix in cause.fixes)
        if cause.line and not any(cause.line.startswith(shown) for shown in found.traceback):
            yield f"  in the log: {cause.line}"
        if cause.source:
            yield f"  known from: {cause.source}"
        if found.step > 0:
            yield f"  at step {found.step} of {found.total}"
    if not found.causes:
        yield from _unknown(found)
    yield from found.traceback
    yield from (f"also: {cause.code}: {cause.cause}" for cause in found.causes[1:MOST])
    yield from (f"earlier in the log: {line}" for line in found.earlier[:MOST])
    for warning in found.warnings:
        yield f"also ({warning.code}): {warning.cause}"


def _unknown(found: Diagnosis) -> Iterator[str]:
    where = f" at step {found.step} of {found.total}" if found.step >= 0 else ""
    match found.outcome:
        case "succeeded":
            yield "the log shows a training that came to its end"
        case "failed":
            yield f"not known{where}: the run failed, and no row of the table of causes knows why"
        case _:
            yield f"the log ends{where} without an error and without 'model saved.': it goes on, or was cut off"
    if found.error:
        yield f"  the error: {found.error}"
    yield from (f"  look at {line}" for line in found.look)
    yield from (f"  {line}" for line in found.last_lines)
