"""The runs of a sweep in turn on this machine, each launched and guarded as every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kohya_runner.errors import CancelledError, PreflightError, RunnerError, StalledError, TerminatedError, exit_code
from kohya_runner.findings import Finding, Severity
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.plan.cost import Speed, TimePlan
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request
from kohya_runner.run import resume_effects, stop_request, views
from kohya_runner.run.launch import Policy, run
from kohya_runner.run.observers import Reporter
from kohya_runner.sweep import record as records
from kohya_runner.sweep.purse import Purse, PurseWatch, slowest
from kohya_runner.sweep.record import SweepRecord
from kohya_runner.sweep.variants import Variant

ONCE = ("finish.compare=false", "finish.stop_pod=false")
"""A sweep compares once, at its end, and a pod that is stopped after the first run would end it."""


@dataclass(slots=True)
class Sweep:
    """One sweep and what became of it so far: exit codes and words by the names of the runs."""

    folder: Path
    request: Request
    variants: tuple[Variant, ...]
    purse: Purse
    record: SweepRecord
    runs: Path
    codes: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def rows(self) -> tuple[records.VariantRow, ...]:
        """Each run as it stands now."""
        return records.rows(self.variants, self.runs, self.record.began, self.said)

    @property
    def left(self) -> float | None:
        """Seconds of the machine that may still be used; None where there is no limit."""
        limit = self.purse.seconds
        return None if limit is None else limit - sum(row.seconds for row in self.rows())

    @property
    def code(self) -> int:
        """The first that is not 0."""
        return next(filter(None, self.codes.values()), 0)


def requests(base: Request, variants: Sequence[Variant], shared: str, price: float | None) -> tuple[Request, ...]:
    """What ``launch --resume`` is asked for each of them; they share one laid-out dataset."""
    more = (*ONCE, *(() if price is None else (f"budget.price_per_hour={price}",)))
    return tuple(
        replace(base, overrides=(*base.overrides, *v.overrides, *more), resume=True, shared=shared) for v in variants
    )


def problems(plans: Sequence[Plan]) -> tuple[Finding, ...]:
    """The errors of all plans, each once with the runs that have it."""
    found: dict[Finding, list[str]] = {}
    for plan in plans:
        for finding in plan.findings:
            if finding.severity is Severity.ERROR:
                found.setdefault(finding, []).append(plan.name)
    return tuple(
        replace(f, message=f.message if len(names) == len(plans) else f"{', '.join(names)}: {f.message}")
        for f, names in found.items()
    )


def take_turns(sweep: Sweep, screen: Reporter, prepared: Callable[[Plan], Plan]) -> None:
    """All of them; a failed one does not stop the others. Ctrl-C does."""
    asked = requests(sweep.request, sweep.variants, sweep.folder.name, sweep.purse.price)
    for number, (variant, request) in enumerate(zip(sweep.variants, asked, strict=True), start=1):
        screen.event(f"--- run {number} of {len(asked)}: {variant.name}", lasting=True)
        try:
            sweep.codes[variant.name] = _turn(sweep, variant, request, screen, prepared)
        except RunnerError as fault:
            sweep.codes[variant.name], sweep.said[variant.name] = fault.exit_code, fault.message.splitlines()[0]
            if isinstance(fault, (CancelledError, TerminatedError)) and not _asked(sweep, variant):
                raise
        if said := sweep.said.get(variant.name):
            screen.event(f"{variant.name}: {said}", lasting=True)


def _asked(sweep: Sweep, variant: Variant) -> bool:
    """Whether this run alone was stopped, by the ``stop`` command or its page; Ctrl-C is for the whole sweep."""
    view = next((row.view for row in sweep.rows() if row.variant == variant), None)
    request = stop_request.read(view.path) if view else None
    return bool(request and view and view.record and request.attempt == view.record.attempt)


def _turn(sweep: Sweep, variant: Variant, request: Request, screen: Reporter, prepared: Callable[[Plan], Plan]) -> int:
    """The exit code of one run that has ended well, or was not begun."""
    left, known = sweep.left, sweep.rows()
    if left is not None:  # also where this process is killed: the sentinel knows the run's own limit
        request = replace(request, overrides=(*request.overrides, f"budget.max_hours={max(1.0, left) / 3600:.6f}"))
    made = make_plan(request)
    made = prepared(made) if made.unprepared else made
    if made.fingerprint and (view := resume_effects.finished_or_adopted(made, screen, AFTER_RUN)) is not None:
        return views.exit_code(view)
    need = _needed(made, slowest([row.view.record for row in known if row.view and row.view.record]))
    found = problems((made,))
    if left is not None and (left <= 0 or (need or 0) > left or {f.code for f in found} == {"budget.hours"}):
        takes = f"it takes about {sweep.purse.said(need)}, and " if need else ""
        sweep.said[variant.name] = f"not started: {takes}{sweep.purse.said(max(0.0, left))} are left in the purse"
        return StalledError.exit_code
    if not made.ok:
        sweep.said[variant.name] = f"refused: {found[0].message if found else 'the plan is not whole'}"
        return exit_code(found) or PreflightError.exit_code
    watch = PurseWatch(made.ready.run_dir, made.ready.steps, left)
    watch.start()
    try:
        run(made, Policy(once=True), screen, AFTER_RUN)
    except RunnerError as fault:
        if not watch.asked:
            raise
        sweep.said[variant.name] = f"the purse is empty: {fault.message.splitlines()[0]}"
        return StalledError.exit_code
    finally:
        watch.over.set()
    return 0


def _needed(made: Plan, own: Speed | None) -> float | None:
    """Seconds, by a run like it or by the slowest of this sweep."""
    measured = made.forecast.time.speed if made.forecast and made.forecast.time else None
    speed, steps = measured or own, made.steps
    if speed is None or steps is None:
        return None
    done = made.series.first_step(steps.steps_per_epoch) if made.series else 0
    return TimePlan(steps.total - done, speed).seconds
