"""The runs of a sweep in turn on this machine, each launched and guarded as every other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kohya_runner.errors import CancelledError, PreflightError, RunnerError, StalledError, TerminatedError, exit_code
from kohya_runner.findings import Finding, Severity
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.plan.cost import TimePlan
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request
from kohya_runner.run import resume_effects, stop_request, views
from kohya_runner.run.launch import Policy, run
from kohya_runner.run.observers import Reporter
from kohya_runner.sweep import record as records
from kohya_runner.sweep.purse import Purse, PurseWatch, ask_here, slowest
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
    record: SweepRecord  # ``fingerprints`` as each run was begun
    runs: Path
    saves: Mapping[str, tuple[int, ...]]  # after which steps, by the names of the runs
    now: Mapping[str, str]  # the fingerprints as they are planned now
    codes: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def rows(self) -> tuple[records.VariantRow, ...]:
        return records.rows(self.variants, self.runs, self.record.began, self.said)

    @property
    def left(self) -> float | None:
        """Seconds of the machine that may still be used; None where there is no limit."""
        limit = self.purse.seconds
        return None if limit is None else limit - sum(row.seconds for row in self.rows())

    def same(self, variant: Variant) -> bool:
        """Whether it is what was begun under this name."""
        return self.record.fingerprints.get(variant.name) == self.now[variant.name]

    @property
    def code(self) -> int:
        """The first that is not 0."""
        return next(filter(None, self.codes.values()), 0)


Turn = Callable[[Sweep, Variant, Request], int]


def requests(base: Request, variants: Sequence[Variant], shared: str, price: float | None) -> tuple[Request, ...]:
    """What ``launch --resume`` is asked for each of them; they share one laid-out dataset."""
    more = (*ONCE, *(() if price is None else (f"budget.price_per_hour={price}",)))
    return tuple(
        replace(base, overrides=(*base.overrides, *v.overrides, *more), resume=True, shared=shared) for v in variants
    )


def problems(plans: Sequence[Plan], sets: Iterable[str] = ()) -> tuple[Finding, ...]:
    """The errors of all plans, each once with the runs that have it; a key's correction keeps all its values."""
    found: dict[Finding, list[str]] = {}
    given = {f"--set {key.strip()}": values for key, _, values in (text.partition("=") for text in sets)}
    for plan in plans:
        for one in (finding for finding in plan.findings if finding.severity is Severity.ERROR):
            line = re.search(r"(--set [^\s=]+)=(\S+)$", one.hint)
            renamed = line is not None and one.where in given and line[1] != one.where
            hint = f"{one.hint[: line.start(2)]}{given[one.where]}" if line and renamed else one.hint
            found.setdefault(replace(one, hint=hint), []).append(plan.name)
    return tuple(
        replace(f, message=f.message if len(names) == len(plans) else f"{', '.join(names)}: {f.message}")
        for f, names in found.items()
    )


def take_turns(sweep: Sweep, asked: Sequence[tuple[Variant, Request]], screen: Reporter, turn: Turn) -> None:
    """All of them; a failed one does not stop the others. Ctrl-C does."""
    for number, (variant, request) in enumerate(asked, start=1):
        screen.event(f"--- run {number} of {len(asked)}: {variant.name}", lasting=True)
        try:
            sweep.codes[variant.name] = turn(sweep, variant, request)
        except RunnerError as fault:
            sweep.codes[variant.name], sweep.said[variant.name] = fault.exit_code, fault.message.splitlines()[0]
            if isinstance(fault, (CancelledError, TerminatedError)) and not _asked(sweep, variant):
                raise
        finally:
            sweep.record.fingerprints[variant.name] = sweep.now[variant.name]
            records.write(sweep.folder, sweep.record)
        if said := sweep.said.get(variant.name):
            screen.event(f"{variant.name}: {said}", lasting=True)


def _asked(sweep: Sweep, variant: Variant) -> bool:
    """Whether this run alone was stopped, by the ``stop`` command or its page; Ctrl-C is for the whole sweep."""
    view = next((row.view for row in sweep.rows() if row.variant == variant), None)
    request = stop_request.read(view.path) if view else None
    return bool(request and view and view.record and request.attempt == view.record.attempt)


def unpaid(sweep: Sweep, made: Plan, left: float | None, found: Sequence[Finding]) -> str:
    """Why a run is not begun for want of money, "" where it may be. Its need: by a run like it, else of this sweep."""
    if left is None:
        return ""
    measured = made.forecast.time.speed if made.forecast and made.forecast.time else None
    speed = measured or slowest([row.view.record for row in sweep.rows() if row.view and row.view.record])
    done = made.series.first_step(made.steps.steps_per_epoch) if made.series and made.steps else 0
    need = TimePlan(made.steps.total - done, speed).seconds if made.steps else None
    if left > 0 and (need or 0) <= left and {finding.code for finding in found} != {"budget.hours"}:
        return ""
    takes = f"it takes about {sweep.purse.said(need)}, and " if need else ""
    return f"not started: {takes}{sweep.purse.said(max(0.0, left))} are left in the purse"


def plan_within(request: Request, left: float | None, prepared: Callable[[Plan], Plan]) -> Plan:
    """The plan of a run with what is left as its own limit: where nobody watches, the run's own guards know it."""
    limit = () if left is None else (f"budget.max_hours={max(1.0, left) / 3600:.6f}",)
    made = make_plan(replace(request, overrides=(*request.overrides, *limit)))
    return prepared(made) if made.unprepared else made


def refused(sweep: Sweep, variant: Variant, made: Plan, left: float | None) -> int:
    """The exit code of a run that is not begun, 0 where nothing stands against it."""
    found = problems((made,))
    if said := unpaid(sweep, made, left, found):
        sweep.said[variant.name] = said
        return StalledError.exit_code
    if not made.ok:
        sweep.said[variant.name] = f"refused: {found[0].message if found else 'the plan is not whole'}"
        return exit_code(found) or PreflightError.exit_code
    return 0


def turn_here(
    sweep: Sweep, variant: Variant, request: Request, *, screen: Reporter, prepared: Callable[[Plan], Plan]
) -> int:
    """One run on this machine; the exit code where it has ended well, or was not begun."""
    left = sweep.left
    made = plan_within(request, left, prepared)
    if made.fingerprint and (view := resume_effects.finished_or_adopted(made, screen, AFTER_RUN)) is not None:
        return views.exit_code(view)
    if code := refused(sweep, variant, made, left):
        return code
    watch = PurseWatch(made.ready.run_dir, sweep.saves[variant.name], left, ask_here)
    watch.start()
    try:
        run(made, Policy(once=True), screen, AFTER_RUN)
    except RunnerError as fault:
        spent = left is not None and isinstance(fault, StalledError) and "budget.max_hours" in fault.message
        if not (watch.asked or spent):
            raise
        sweep.said[variant.name] = f"the purse is empty: {fault.message.splitlines()[0]}"
        return StalledError.exit_code
    finally:
        watch.over.set()
    return 0
