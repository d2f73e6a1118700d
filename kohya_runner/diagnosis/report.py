"""A diagnosis for a reader, and that of a run with a record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.diagnose import Cause, Diagnosis, diagnose
from kohya_runner.diagnosis.known import from_argv
from kohya_runner.diagnosis.lines import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.record.record import Record

RAISE = {"budget.hours": "raise budget.max_hours, or write fewer epochs", "budget.cost": "raise budget.max_cost"}
MOST = 3
"""Causes and earlier errors that are shown; the others stay in --json."""


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
