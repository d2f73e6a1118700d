"""Runs on the screen: the list of them, how one is doing, and what it left."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from kohya_runner.plan.value import Plan
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import read
from kohya_runner.record.record import Record
from kohya_runner.run.checkpoints import doubts as doubts_of
from kohya_runner.run.checkpoints import found as found_in
from kohya_runner.run.run_diff import RunDiff
from kohya_runner.run.spending import spending
from kohya_runner.show.console import json_object, note, say, table
from kohya_runner.text import duration, plain, size


def runs(found: Sequence[RunView], *, as_json: bool) -> None:
    if as_json:
        json_object({"version": 1, "runs": [_run_json(view) for view in found]})
        return
    lines = [(f"{v.name}/{v.run_id}", v.state, *_progress(v), v.problem) for v in found]
    table(("run", "state", "steps", "checkpoints", ""), lines, empty="no runs yet")


def diff(made: RunDiff, *, as_json: bool) -> None:
    if as_json:
        json_object(made.as_json())
        return
    heads = ("", *made.names)
    rows = [(f"{one.kind}: {one.name}", one.before, one.after) for one in made.differences]
    table(heads, rows, empty="the same in " + ", ".join(made.compared))
    say("")
    table(heads, [(name, *map(_figure, pair)) for name, pair in made.outcome.items()], empty="")


def _figure(value: object) -> str:
    return "unknown" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _progress(view: RunView) -> tuple[str, str]:
    kept = view.record
    if kept is None:
        return "", ""
    present = [c for c in kept.checkpoints if not c.removed]
    practice = " PRACTICE" if kept.practice else ""
    return f"{kept.steps_seen}/{kept.steps_planned or '?'}", f"{len(present)}{practice}"


def _run_json(view: RunView) -> dict[str, Any]:
    record = json.loads(view.record.model_dump_json()) if view.record else None
    return {"name": view.name, "run_id": view.run_id, "path": str(view.path), "state": view.state,
            "problem": view.problem, "record": record}  # fmt: skip


def status(view: RunView, *, as_json: bool) -> None:
    kept = view.record
    spent = spending(view.path, kept, read(view.path), state=view.state) if kept else None
    if as_json:
        doubts = doubts_of(view.output_dir, view.record.checkpoints) if view.record else {}
        told = dict(spent.as_json()) if spent else None
        json_object({"version": 1, **_run_json(view), "spending": told, "doubts": doubts})
        return
    practice = "   PRACTICE" if kept and kept.practice else ""
    rows = [("run", f"{view.name}/{view.run_id}{practice}"), ("state", view.state)]
    if view.problem:
        rows.append(("why", view.problem))
    if kept is not None:
        steps = f"{kept.steps_seen} of {kept.steps_planned or '?'}"
        tried = f", attempt {kept.attempt}" if kept.attempt > 1 else ""
        rows.append(("steps", f"{steps}, epoch {kept.epochs_seen} of {kept.epochs_planned or '?'}{tried}"))
        if kept.loss is not None:
            rows.append(("loss", f"{kept.loss}"))
        if kept.timings.seconds_per_step:
            rows.append(("speed", f"{kept.timings.seconds_per_step} s/step"))
        if kept.timings.seconds is not None:
            rows.append(("time", duration(kept.timings.seconds)))
        rows += spent.rows() if spent else ()
        doubts = doubts_of(view.output_dir, kept.checkpoints)
        for c in kept.checkpoints:
            state = "removed" if c.removed else size(c.bytes) if c.complete else "incomplete"
            state = f"{state}, but {doubts[c.file]}" if c.file in doubts else state
            rows.append(("checkpoint", f"{c.file}   {state}   {c.sha256[:12]}"))
        rows += [("after", str(done.get("said"))) for done in kept.after]
    else:
        rows += [("file", f"{view.output_dir / c.file}   {size(c.bytes)}") for c in found_in(view.output_dir, ())]
    rows.append(("log", str(view.log)))
    if view.state == "orphaned":
        rows.append(("do", f"kohya-runner status {view.name} --adopt   or   kohya-runner stop {view.name}"))
    for label, text in rows:
        say(f"{label:<11}{plain(text)}")


def finished(record: Record, made: Plan, *, as_json: bool) -> None:
    if as_json:
        json_object(json.loads(record.model_dump_json()))
        return
    output = made.workspace.runs / record.name / record.run_id / record.output_dir
    mark = "PRACTICE: nothing was trained. " if record.practice else ""
    note(f"{mark}done: {record.name}/{record.run_id}, {record.steps_seen} steps")
    if isinstance(record.loss, str):
        note(f"WARNING: the last loss is {record.loss}: all training after the first such step is worthless")
    for c in record.checkpoints:
        if not c.removed:
            say(f"{output / c.file}   {size(c.bytes)}   {c.modules} modules   sha256 {c.sha256[:16]}")
    where = f" --workspace {shlex.quote(made.request.workspace)}" if made.request.workspace else ""
    note(f"next: {next_command(record)}{where}")


def next_command(record: Record) -> str:
    """What to do with a run that succeeded; a practice run has painted nothing to compare."""
    return f"kohya-runner {'report' if record.practice else 'compare'} {shlex.quote(f'{record.name}/{record.run_id}')}"
