"""``launch --resume``: what is finished already, and what must be moved before the trainer continues."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

from kohya_runner.errors import RunExistsError, TrainingFailedError
from kohya_runner.plan.value import Plan
from kohya_runner.record import attempts, ledger, resume_point
from kohya_runner.record.attempts import Attempt
from kohya_runner.record.ledger import RunView
from kohya_runner.record.record import CUT, UNDER_WAY, Note, Record, SavedCheckpoint
from kohya_runner.record.resume_point import ResumePoint
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import checkpoints, views
from kohya_runner.run.observers import AfterRun, Reporter
from kohya_runner.run.stop_sequence import end_left_over
from kohya_runner.run.takeover import judge_ended, settled

MOST_FAILURES = 3
"""Attempts that may fail in a row without a new state: a machine that restarts by itself would cost money for ever."""


def finished_or_adopted(plan: Plan, screen: Reporter, after: AfterRun) -> RunView | None:
    """The run that leaves nothing to start: done before, or watched to its end now because its runner was gone.

    Raises ``RunExistsError`` where a runner watches it.
    """
    known = ledger.runs(plan.workspace.runs)
    done = ledger.done_before(known, plan.name, plan.fingerprint)
    unjudged = done is not None and done.record is not None and done.record.state in UNDER_WAY  # nobody saw its end
    if done is not None and (not unjudged or judge_ended(done).state == "succeeded"):
        screen.event("done before, with the same recipe, data and trainer: nothing to do", lasting=True)
        return ledger.view(done.path)
    view = resume_point.latest(known, plan.name, practice=plan.request.practice)
    if view is not None and view.state == "orphaned":
        screen.event(
            f"{view.name}/{view.run_id}: the trainer runs without its runner; watching it from here", lasting=True
        )
        return views.take_over(view, screen, after)
    if view is not None and view.state in UNDER_WAY:
        hint = f"watch it with: kohya-runner status {view.name}"
        raise RunExistsError(f"{view.name}: run {view.run_id} is still running", hint=hint)
    return None


def ended_left_over(plan: Plan) -> bool:
    """End what the last attempt left running here, and would go on writing its files; True where it may have."""
    view = resume_point.latest(ledger.runs(plan.workspace.runs), plan.name, practice=plan.request.practice)
    return view is not None and end_left_over(RunPaths(view.path).log)


def refuse_to_repeat(series: ResumePoint) -> None:
    """Raise ``TrainingFailedError`` where the last attempts all failed on the way from this very state."""
    last = series.known.attempts[-MOST_FAILURES:]
    failed = [a for a in last if a.outcome == "failed" and a.from_state == series.state.path.name]
    if len(failed) == MOST_FAILURES:
        message = f"{len(failed)} attempts in a row failed after epoch {series.epoch}, the last: {failed[-1].why}"
        hint = f"see {series.path / failed[-1].log}; when the cause is gone: launch --resume --again"
        raise TrainingFailedError(message, hint=hint)


def refuse_to_begin_again(plan: Plan) -> None:
    """Raise ``TrainingFailedError`` where the last runs with the same options and data all failed without a state."""
    mine = [v for v in ledger.runs(plan.workspace.runs) if v.name == plan.name and v.record is not None]
    last = mine[-MOST_FAILURES:]
    failed = [v for v in last if v.state == "failed" and v.record and v.record.fingerprint == plan.fingerprint]
    if len(failed) == MOST_FAILURES:
        numbers = ", ".join(view.run_id for view in failed)
        message = f"runs {numbers} failed one after the other and left no state, the last: {failed[-1].problem}"
        hint = f"see kohya-runner logs {plan.name}; when the cause is gone: launch --resume --again"
        raise TrainingFailedError(message, hint=hint)


def prepare_folder(series: ResumePoint, screen: Reporter) -> None:
    """End the last attempt in the record and make room: later checkpoints are moved aside, incomplete states removed.

    Raises ``RunExistsError`` where the run is no longer what the plan was made for.
    """
    view = ledger.view(series.path)
    if view.record != series.record or view.state not in CUT:
        raise RunExistsError(f"{view.name}/{view.run_id} was continued by another launch", hint="launch again")
    attempts.close_last(settled(view))
    checkpoints.renamed(view.output_dir, view.record.changed(checkpoints=_found(series)))
    doubts = checkpoints.doubts(view.output_dir, series.record.checkpoints)
    for file, doubt in doubts.items():
        screen.event(f"WARNING {file} was whole and {doubt}", lasting=True)
    folder = RunPaths(series.path).set_aside / f"{series.attempt - 1:03d}"
    for checkpoint in _found(series):
        if not checkpoint.removed and not _belongs(checkpoint, series):
            folder.mkdir(parents=True, exist_ok=True)
            (view.output_dir / checkpoint.file).replace(folder / checkpoint.file)
            whole = "" if checkpoint.complete else ", which is incomplete,"
            again = "not " if checkpoint.file in doubts and (checkpoint.epoch or sys.maxsize) <= series.epoch else ""
            text = f"{checkpoint.file}{whole} is moved to {folder}: its epoch is {again}trained again"
            screen.event(text, lasting=True)
    for state in series.broken:
        with contextlib.suppress(OSError):
            shutil.rmtree(state.path)
        screen.event(f"{state.path.name} {state.problem}: removed", lasting=True)


def carried_over(plan: Plan) -> dict[str, Any]:
    """What the record of a run that goes on takes over from its earlier attempts; nothing for a new one."""
    series = plan.series
    if series is None:
        return {}
    each = plan.ready.steps.steps_per_epoch
    first = series.first_step(each)
    kept = tuple(c for c in _found(series) if _belongs(c, series))
    return {
        "attempt": series.attempt,
        "log": series.log,
        "first_step": first,
        "bar_offset": series.state.way.bar_offset(first, each),
        "first_epoch": series.first_epoch,
        # as the trainer of this attempt will call it
        "final": plan.ready.steps.checkpoints[-1].replace(series.record.name, series.output_name, 1),
        "steps_seen": first,
        "epochs_seen": series.epoch,
        "checkpoints": kept,
        "modules": series.record.modules,
        "notes": tuple(_losses(series)),
    }


def _losses(series: ResumePoint) -> Iterator[Note]:
    """The files of finished epochs that were whole and are so no more."""
    done = [c for c in series.record.checkpoints if _belongs(c, series)]
    for file, doubt in checkpoints.doubts(series.path / series.record.output_dir, done).items():
        if doubt != checkpoints.ANEW:
            text = f"{file} was whole, and was lost before the resume"
            yield Note(time=time.time(), code="checkpoint.gone", text=text)


def begin_attempt(plan: Plan, record: Record) -> None:
    recipe, series = plan.loaded.recipe, plan.series
    attempt = Attempt(
        number=record.attempt,
        world_size=recipe.launch.world if recipe else 1,
        steps_per_epoch=plan.ready.steps.steps_per_epoch,
        epoch=series.epoch if series else 0,
        step=record.first_step,
        from_state=series.state.path.name if series else "",
        log=record.log,
        queued=record.timings.queued or time.time(),
    )
    attempts.add(plan.ready.run_dir, attempt)


def _found(series: ResumePoint) -> tuple[SavedCheckpoint, ...]:
    """Every checkpoint of the run, also those written after its runner was killed."""
    output = series.path / series.record.output_dir
    return checkpoints.found(output, checkpoints.with_run_names(output, series.record.checkpoints))


def _belongs(checkpoint: SavedCheckpoint, series: ResumePoint) -> bool:
    """Whether it belongs to the finished epochs. The file without a number is the last epoch's: it is trained again."""
    if series.state.step is not None:
        return checkpoint.step is not None and checkpoint.step <= series.state.step
    done = checkpoint.epoch is not None and checkpoint.epoch <= series.epoch
    return done and checkpoint.file != series.record.final and (checkpoint.complete or checkpoint.removed)
