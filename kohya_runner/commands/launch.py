"""``kohya-runner launch``: the plan, and what is asked to be done with it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kohya_runner.commands import live, remote
from kohya_runner.commands.entry import served
from kohya_runner.commands.remote import OnOptions
from kohya_runner.errors import PreflightError, UsageError
from kohya_runner.findings import Severity
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.machine.rendezvous import rendezvous
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import exit_code, plan_json
from kohya_runner.plan.value import Plan, Request
from kohya_runner.record.ledger import RunView
from kohya_runner.run import detached, prepare, resume_effects, views
from kohya_runner.run.launch import Policy, run
from kohya_runner.run.nodes.station import ON_ITS_OWN, Station
from kohya_runner.show import console, run_screen

GOOD = "no errors: launch without --rehearse, or add --go"


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The options of ``launch`` that are not part of the plan."""

    dry_run: bool = False
    as_json: bool = False
    once: bool = False
    again: bool = False
    detach: bool = False
    rehearse: bool = False
    go: bool = False
    serve: int | None = None
    bind: str | None = None
    there: OnOptions = field(default_factory=OnOptions)


def launch(request: Request, options: LaunchOptions) -> int:
    """Plan, show, then do what was asked for; the exit code."""
    _check(request, options)
    if options.there.on is not None:
        return _elsewhere(request, options)
    place = rendezvous(os.environ)[0]
    if place.machines == 1 or options.dry_run:
        return _launched(request, options, ON_ITS_OWN)
    if request.practice or options.detach or options.rehearse:
        raise UsageError(
            f"--practice, --detach and --rehearse are for one machine: {place}",
            hint="leave them out, or take one machine",
        )
    from kohya_runner.run.nodes import follow

    if place.rank:
        with console.live(quiet=options.as_json, practice=False) as screen:
            return follow.follow(request, place, screen, os.environ)
    with follow.meeting(request, place, os.environ)[1] as station:
        code = _launched(request, options, station)
        station.say(code=code)
        return code


def _launched(request: Request, options: LaunchOptions, station: Station) -> int:
    """What this machine does, as the first of several or alone."""
    made = make_plan(request, on_progress=console.scan_progress(quiet=options.as_json))
    if not options.as_json:
        console.plan(made)
    if made.unprepared and not options.dry_run:
        made = prepared(made, quiet=options.as_json)
    if request.resume and not options.dry_run and (view := _standing(made, options)):
        return views.exit_code(view)
    if request.resume and not options.dry_run and resume_effects.ended_left_over(made):
        console.note("processes of the last attempt still ran here and were ended; planned anew")
        made = make_plan(request)
    if options.dry_run or not made.ok:
        if options.as_json:
            console.json_object(plan_json(made))
        return exit_code(made)
    if options.rehearse:
        found = _rehearsed(made, as_json=options.as_json and not options.go, quiet=options.as_json)
        if not options.go or found.exit_code:
            return int(found.exit_code)
    return _trained(made, options, station)


def _check(request: Request, options: LaunchOptions) -> None:
    """UsageError for options that do not go together."""
    if options.there.stray:
        raise UsageError(f"{', '.join(options.there.stray)}: only with --on", hint="add --on PLACE, or leave it out")
    if options.there.on is not None:
        unfit = {"--rehearse": options.rehearse, "--again": options.again, "--sd-scripts": request.sd_scripts,
                 "--serve": options.serve is not None, "--once": options.once}  # fmt: skip
        if found := [name for name, given in unfit.items() if given]:
            raise UsageError(f"{', '.join(found)}: not with --on", hint="leave it out; watch --serve shows the page")
    if options.go and not options.rehearse:
        raise UsageError("--go goes with --rehearse", hint="add --rehearse, or leave --go out")
    if request.resume and options.rehearse:
        hint = "a resumed run was measured already; leave one of the two out"
        raise UsageError("--resume does not go with --rehearse", hint=hint)
    if options.serve is not None and options.detach:
        hint = "detach the run, then: kohya-runner watch --serve"
        raise UsageError("--serve does not go with --detach: its page would have no end", hint=hint)


def _elsewhere(request: Request, options: LaunchOptions) -> int:
    """The plan for another machine, handed to the place; a place that is not there is told before anything is read."""
    remote.fitting(options.there.on or "", options.there.ask)
    nodes = (f"launch.nodes={options.there.nodes}",) if options.there.nodes > 1 else ()
    request = replace(request, overrides=(*request.overrides, *nodes))
    asked = replace(request, elsewhere=True, resume=False, deep=False)
    made = make_plan(asked, on_progress=console.scan_progress(quiet=options.as_json))
    if made.unprepared and not options.dry_run:
        made = prepared(made, quiet=True)
    if not options.as_json:
        console.plan(made)
    if not made.ok:
        if options.as_json:
            console.json_object(plan_json(made))
        return exit_code(made)
    made = replace(made, request=request)
    return remote.send(made, options.there, dry_run=options.dry_run, detach=options.detach, as_json=options.as_json)


def ahead(request: Request, there: OnOptions, *, as_json: bool) -> int:
    """Fetch the models and lay the dataset out while, or before, the trainer is installed."""
    if stray := ("--on",) if there.on is not None else there.stray:
        hint = "a place fetches for itself: leave one of the two out"
        raise UsageError(f"{', '.join(stray)}: not with --prepare, which is for this machine", hint=hint)
    made = make_plan(request, on_progress=console.scan_progress(quiet=as_json))
    against = tuple(f for f in made.findings if f.severity is Severity.ERROR and f.stage != "trainer")
    if against and not made.unprepared:
        raise PreflightError("nothing was fetched: the launch would be refused", findings=against)
    with console.live(quiet=as_json, practice=False) as screen:
        prepare.ahead(made, os.environ, screen.event)
    if as_json:
        console.json_object({"version": 1, "ok": True, "dataset": str(made.layout.tree) if made.layout else None})
    return 0


def prepared(made: Plan, *, quiet: bool) -> Plan:
    """The plan once its datasets are prepared: only now all of it is known."""
    from kohya_runner.commands.dataset_captions import tagger_place
    from kohya_runner.plan.dataset_versions import make_versions
    from kohya_runner.run.taggers import captioner

    progress = console.scan_progress(quiet=quiet)
    place = partial(tagger_place, made.request.sd_scripts, made.workspace)
    by = partial(captioner, place=place, environ=os.environ)
    for finding in make_versions(made.loaded, made.workspace, progress, by):
        if not quiet:
            console.note(f"{finding.severity.value} {finding.code}: {finding.message}")
    new = make_plan(made.request, on_progress=progress)
    if not quiet:
        console.plan(new)
    return new


def _trained(made: Plan, options: LaunchOptions, station: Station) -> int:
    """Here, or in the background with only the beginning watched from here."""
    if options.detach and (child := detached.fork_runner()):
        return live.attend(child, made, as_json=options.as_json)
    policy = Policy(once=options.once, again=options.again, station=station)
    policy = replace(policy, on_claim=detached.redirect_output) if options.detach else policy
    server = served(made.ready.run_dir, options.serve, options.bind)
    with contextlib.ExitStack() as stack:
        if server is not None:
            from kohya_runner.show.live_server import beside

            stack.enter_context(beside(server))
        with console.live(quiet=options.as_json, practice=made.request.practice) as screen:
            record = run(made, policy, screen, AFTER_RUN)
        run_screen.finished(record, made, as_json=options.as_json)
    return 0


def _standing(made: Plan, options: LaunchOptions) -> RunView | None:
    """The run that leaves nothing to launch; it is shown."""
    with console.live(quiet=options.as_json, practice=False) as screen:
        view = resume_effects.finished_or_adopted(made, screen, AFTER_RUN)
    if view is not None:
        run_screen.status(view, as_json=options.as_json)
    return view


def _rehearsed(made: Any, *, as_json: bool, quiet: bool) -> Any:
    """Run the rehearsal of a plan, watched, and show what it measured; the rehearsal."""
    from kohya_runner.run.rehearse import rehearse

    with console.live(quiet=quiet, practice=made.request.practice) as screen:
        found = rehearse(made, screen, AFTER_RUN)
    if as_json:
        console.json_object(found.as_json())
    elif not quiet:
        verdict = "errors: the whole run would be refused" if found.exit_code else GOOD
        console.summary(found.rows(), found.findings, verdict, good=not found.exit_code)
    return found
