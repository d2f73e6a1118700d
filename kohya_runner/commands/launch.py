"""``kohya-runner launch``: the plan, and what is asked to be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.commands import live
from kohya_runner.commands.rehearse import only_one_of, rehearsed
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import exit_code, plan_json
from kohya_runner.run import detached, resume_effects, views
from kohya_runner.run.launch import Policy, run
from kohya_runner.run.stopping.stop_signals import raise_on_stop
from kohya_runner.show import console

if TYPE_CHECKING:
    from kohya_runner.plan.value import Plan, Request
    from kohya_runner.record.ledger import RunView


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The options of ``launch`` that are no part of the plan."""

    dry_run: bool = False
    as_json: bool = False
    once: bool = False
    again: bool = False
    detach: bool = False
    rehearse: bool = False
    go: bool = False


def launch(request: Request, wishes: LaunchOptions) -> int:
    """Plan, show, then do what was asked for; the exit code."""
    only_one_of(go=wishes.go and not wishes.rehearse, resume=request.resume and wishes.rehearse)
    raise_on_stop()
    made = make_plan(request, on_progress=console.scan_progress(quiet=wishes.as_json))
    if not wishes.as_json:
        console.plan(made)
    if request.resume and not wishes.dry_run and (view := _standing(made, wishes)):
        return views.exit_code(view)
    if wishes.dry_run or not made.ok:
        if wishes.as_json:
            console.json_object(plan_json(made))
        return exit_code(made)
    if wishes.rehearse:
        found = rehearsed(made, as_json=wishes.as_json and not wishes.go, quiet=wishes.as_json)
        if not wishes.go or found.exit_code:
            return int(found.exit_code)
    return _trained(made, wishes)


def _trained(made: Plan, wishes: LaunchOptions) -> int:
    """Here, or in the background with only the beginning watched from here."""
    if wishes.detach and (child := detached.divide()):
        return live.attend(child, made, as_json=wishes.as_json)
    on_claim = detached.settle_in if wishes.detach else detached.stay
    with console.live(quiet=wishes.as_json, practice=made.request.practice) as screen:
        record = run(made, Policy(once=wishes.once, again=wishes.again, on_claim=on_claim), screen, AFTER_RUN)
    console.finished(record, made, as_json=wishes.as_json)
    return 0


def _standing(made: Plan, wishes: LaunchOptions) -> RunView | None:
    """The run that leaves nothing to launch, told to the person."""
    with console.live(quiet=wishes.as_json, practice=False) as screen:
        view = resume_effects.standing(made, screen, AFTER_RUN)
    if view is not None:
        console.status(view, as_json=wishes.as_json)
    return view
