"""``kohya-runner sweep``: many runs of one recipe, with one purse, and one comparison at their end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import click

from kohya_runner.commands import remote
from kohya_runner.commands.compare import show
from kohya_runner.commands.entry import as_path, complete_recipes, with_options
from kohya_runner.commands.launch import prepared
from kohya_runner.compare.comparison import Comparison
from kohya_runner.compare.write_up import result_json
from kohya_runner.engines.table import user_settings
from kohya_runner.errors import CancelledError, RunnerError, TerminatedError, UsageError, error_for
from kohya_runner.machine import prices
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request
from kohya_runner.recipe.load import load
from kohya_runner.show import console
from kohya_runner.sweep import record as records
from kohya_runner.sweep import turns, variants
from kohya_runner.sweep.purse import Purse, save_steps
from kohya_runner.sweep.record import SweepRecord
from kohya_runner.sweep.sheet import HEADINGS, compared, table
from kohya_runner.sweep.turns import Sweep

_OPTIONS = (
    click.argument("recipe", type=click.Path(), callback=as_path, shell_complete=complete_recipes),
    click.option("--set", "sets", multiple=True, metavar="KEY=A,B,C",
                 help="A run for each value; of several lists for each combination."),
    click.option("--max-cost", type=click.FloatRange(0, min_open=True), metavar="N", help="For all runs together."),
    click.option("--max-hours", type=click.FloatRange(0, min_open=True), metavar="N", help="For all runs together."),
    click.option("--price", type=click.FloatRange(0, min_open=True), metavar="N", help="An hour of the machine."),
    click.option("--on", metavar="PLACE", help="On another machine, or as a Slurm array (docs/remote.md)."),
    click.option("--gpu", metavar="NAME", help="With --on: the card to ask for."),
    click.option("--dry-run", is_flag=True, help="Plan all runs; nothing is written."),
    click.option("--no-compare", is_flag=True, help="No comparison at the end."),
    click.option("--yes", is_flag=True, help="Start without asking."),
    click.option("--practice", is_flag=True, help="A stand-in process instead of the trainer. Trains nothing."),
    click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live."),
    click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use."),
    click.option("--allow", multiple=True, metavar="CODE", help="Turn the named error into a warning."),
    click.option("--trust", multiple=True, metavar="KEY", help="As for launch (docs/security.md)."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)  # fmt: skip


OTHERS = ("dry_run", "no_compare", "yes", "max_cost", "max_hours", "price", "on", "gpu")


@click.command()
@with_options(*_OPTIONS)
def sweep(sets: tuple[str, ...], as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Train a recipe with each combination of values in turn, and compare the results."""
    others = {name: choices.pop(name) for name in OTHERS}
    made, plans = _planned(sets, others, choices, quiet=as_json)
    before = records.read(made.folder)
    if not as_json:
        _understood(made, plans, records.changes(before, made.record))
    if before is not None:
        labels = {**before.labels, **made.record.labels}
        made.record = before.model_copy(update={"recipe": made.record.recipe, "labels": labels})
    else:
        made.record.fingerprints = {}
    there = _offered(made, plans[0], others, as_json=as_json) if others["on"] else None
    if others["dry_run"]:
        if as_json:
            _show(made, None, as_json=True)
        return 0
    if there is None and not (others["yes"] or as_json) and sys.stdin.isatty():
        click.confirm("Start?", abort=True, err=True)
    with records.held(made.folder):
        records.write(made.folder, made.record)
        try:
            with console.live(quiet=as_json, practice=made.request.practice) as screen:
                _trained(made, there, screen, quiet=as_json)
            compared = None if others["no_compare"] or made.request.practice else _compared(made, quiet=as_json)
        except (CancelledError, TerminatedError, KeyboardInterrupt):
            if not as_json:
                _show(made, None, as_json=False)
            raise
        _show(made, compared, as_json=as_json)
    return made.code


def _trained(made: Sweep, there: tuple[Any, Any, Any] | None, screen: Any, *, quiet: bool) -> None:
    """All runs, here or at a place."""
    ready = partial(prepared, quiet=quiet)
    asked = turns.requests(made.request, made.variants, made.folder.name, made.purse.price)
    pairs = tuple(zip(made.variants, asked, strict=True))
    if there is None:
        return turns.take_turns(made, pairs, screen, partial(turns.turn_here, screen=screen, prepared=ready))
    from kohya_runner.sweep.there import Elsewhere

    Elsewhere(*there, screen, ready).train(made, pairs)
    return None


def _offered(made: Sweep, plan: Plan, others: Mapping[str, Any], *, as_json: bool) -> tuple[Any, Any, Any]:
    """The place, what is asked of it and the offer that was consented to."""
    from kohya_runner.remote.place import Ask
    from kohya_runner.remote.send_off import with_needs

    limit = made.purse.seconds
    ask = with_needs(Ask(others["gpu"], max_hours=None if limit is None else limit / 3600), plan)
    place = remote.fitting(others["on"], ask)
    options = remote.OnOptions(on=others["on"], gpu=others["gpu"])
    offer = remote.chosen(place, ask, options, as_json=as_json)
    if offer.price is not None:
        made.purse = Purse(offer.price, made.purse.max_cost, made.purse.max_hours)
    if not others["dry_run"]:
        remote.consented(place, offer, ask, yes=others["yes"])
    return place, ask, offer


def _planned(
    sets: tuple[str, ...], others: Mapping[str, Any], choices: Mapping[str, Any], *, quiet: bool
) -> tuple[Sweep, tuple[Plan, ...]]:
    """All runs, planned; every problem of every one is told at once."""
    found, settings = variants.axes(sets), user_settings(os.environ)
    fixed = [f"{axis.key}={axis.values[0]}" for axis in found if len(axis.values) == 1]
    loaded = load(choices["recipe"], fixed, readable=settings.env)
    name = loaded.recipe.name if loaded.recipe else loaded.word("name") or choices["recipe"].stem
    runs, base = variants.variants(name, found), Request(**choices)
    asked = turns.requests(base, runs, name, others["price"])
    if others["on"]:
        asked = tuple(replace(one, elsewhere=True, resume=False) for one in asked)
    plans = tuple(make_plan(one, on_progress=console.scan_progress(quiet=quiet)) for one in asked)
    if wrong := [plan for plan in plans if not plan.ok and not plan.unprepared]:
        problems = turns.problems(plans, sets)
        said = f"{len(wrong)} of {len(plans)} runs would be refused: nothing was started"
        raise error_for(finding.stage for finding in problems)(said, findings=problems)
    workspace, purse = plans[0].workspace, _purse(others, plans[0], settings.prices)
    record = SweepRecord(
        recipe=str(base.recipe.absolute()), began=time.time(), labels={run.name: run.label for run in runs},
        fingerprints={run.name: plan.fingerprint for run, plan in zip(runs, plans, strict=True)},
    )  # fmt: skip
    saves = {run.name: save_steps(plan.steps) for run, plan in zip(runs, plans, strict=True) if plan.steps}
    folder, now = workspace.sweeps / name, record.fingerprints
    return turns.Sweep(folder, base, runs, purse, record, workspace.runs, saves, now), plans


def _purse(others: Mapping[str, Any], plan: Plan, stated: tuple[str, ...]) -> Purse:
    """The limits, and the price: of the command, the recipe, or the settings."""
    recipe, gpus = plan.loaded.recipe, tuple(gpu.name for gpu in plan.gpus)
    price = others["price"] or (recipe.budget.price_per_hour if recipe else None)
    offers = () if price else prices.given(stated, "your settings", len(gpus) or 1)
    price = price or next((offer.price for offer in offers if offer.is_of(gpus)), None)
    if others["max_cost"] and not price and not others["on"]:
        hint = 'add --price 0.44, or write prices: ["0.44"] in the settings'
        raise UsageError("--max-cost needs the price of an hour", hint=hint)
    return Purse(price, others["max_cost"], others["max_hours"])


def _understood(made: Sweep, plans: tuple[Plan, ...], changes: Iterable[str]) -> None:
    """What will be trained, before anything is."""
    console.say(f"sweep {made.folder.name}: {len(plans)} runs in turn")
    said, limit = made.purse.said, made.purse.seconds
    times = [plan.forecast.time.seconds if plan.forecast and plan.forecast.time else None for plan in plans]
    steps = [plan.steps.total if plan.steps else 0 for plan in plans]
    lines = [
        (one.name, "  ".join(one.overrides[:-1]), str(number), said(seconds) if seconds else "not known")
        for one, number, seconds in zip(made.variants, steps, times, strict=True)
    ]
    console.table(("run", "values", "steps", "time"), lines, empty="")
    whole = said(sum(filter(None, times))) if all(times) else "time not known: the first run measures it"
    console.say(f"in all: {sum(steps)} steps, {whole}")
    console.say("purse: no limit (--max-cost, --max-hours)" if limit is None else f"purse: {said(limit)}")
    for line in changes:
        console.say(line)


def _compared(made: Sweep, *, quiet: bool) -> Comparison | None:
    """The comparison; None where there is none, and why."""
    with console.live(quiet=quiet, practice=False) as screen:
        try:
            return compared(made.folder, made.rows(), made.purse.price, screen.event, made.request.sd_scripts)
        except (CancelledError, TerminatedError):
            raise
        except RunnerError as fault:
            screen.notice(f"compare: not done: {fault.message.splitlines()[0]}")
            return None


def _show(made: Sweep, compared: Comparison | None, *, as_json: bool) -> None:

    rows, price = made.rows(), made.purse.price
    spent = sum(row.seconds for row in rows)
    if as_json:
        cost = None if price is None else price * spent / 3600
        told = {"name": made.folder.name, "folder": str(made.folder), "limit_seconds": made.purse.seconds,
                "spent": {"seconds": spent, "price": price, "cost": cost}, "runs": [row.as_json(price) for row in rows],
                "comparison": result_json(compared) if compared else None}  # fmt: skip
        console.json_object({"version": 1, "ok": not made.code, **told})
        return
    lines = [(*line, row.said) for line, row in zip(table(rows, price), rows, strict=True)]
    console.table((*HEADINGS, ""), lines, empty="")
    left = any(row.state != "succeeded" for row in rows)
    more = "; the same command goes on where something is left" if left else ""
    console.say(f"used: {made.purse.said(spent)}{more}")
    if compared is not None:
        show(compared, as_json=False)
