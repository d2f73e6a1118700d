"""``kohya-runner cost``: what a run costs, on which machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from kohya_runner.commands.entry import as_path, complete_recipes
from kohya_runner.engines.table import user_settings
from kohya_runner.machine import prices as sources
from kohya_runner.machine.prices import Offer
from kohya_runner.plan.offers import cost_rows
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import exit_code, plan_json
from kohya_runner.plan.value import Plan, Request
from kohya_runner.show import console

CATALOGUES = ("sky", "runpod")
MOST = 12  # machines on the screen that are offered and were never measured


@click.command()
@click.argument("recipe", type=click.Path(), callback=as_path, shell_complete=complete_recipes)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe.")
@click.option("--workspace", metavar="DIR", help="Where the runs are that were measured.")
@click.option("--price", "prices", multiple=True, metavar="[CARD=]N", help="An hour of the machine, of the card named.")
@click.option(
    "--catalogue", type=click.Choice(CATALOGUES), multiple=True,
    help="SkyPilot's file in your home (used where it is there), or RunPod's prices, with your key, only when named.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
def cost(prices: tuple[str, ...], catalogue: tuple[str, ...], as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """What a run costs: card, price, time and money, as far as each was measured or asked."""
    made = make_plan(Request(elsewhere=True, **choices), on_progress=console.scan_progress(quiet=as_json))
    rent = made.forecast.rent if made.forecast else None
    if rent is None or made.steps is None or not made.ok:
        console.json_object(plan_json(made)) if as_json else console.plan(made)
        return exit_code(made)
    rows = cost_rows(rent, _offers(made, os.environ, prices, catalogue))
    if as_json:
        card = next((one.gb for one in rent.classes if one.fits and not one.lines), None)
        told = {"recipe": made.name, "steps": made.steps.total, "smallest_gb": card}
        console.json_object({"version": 1, "ok": True, **told, "machines": [row.as_json() for row in rows]})
        return 0
    console.say(f"{made.name}: {made.steps.total} steps")
    bare = [row for row in rows if row.time is None]
    shown = [row.cells() for row in (*(row for row in rows if row.time), *bare[:MOST])]
    empty = "time and cost: not known, no run with these options was measured here; measure it with: launch --rehearse"
    console.table(("machine", "an hour", "time", "cost", "from"), shown, empty=empty)
    if shown and not rent.times:
        console.note("no time is known: no run or rehearsal with these options is in the workspace (launch --rehearse)")
    if len(bare) > MOST:
        console.note(f"and {len(bare) - MOST} more: --json has them all")
    return 0


def _offers(
    made: Plan, environ: Mapping[str, str], prices: tuple[str, ...], catalogue: tuple[str, ...]
) -> tuple[Offer, ...]:
    """The user's own, the nearest word first; else those of the catalogues."""
    count = made.loaded.recipe.launch.num_processes if made.loaded.recipe else 1
    stated = made.loaded.recipe.budget.price_per_hour if made.loaded.recipe else None
    own = sources.given(prices, "--price", count)
    own = own or (sources.given((str(stated),), "the recipe's budget", count) if stated else ())
    own = own or sources.given(user_settings(environ).prices, "your settings", count)
    asked = catalogue or (() if own or sources.sky_folder(environ) is None else ("sky",))
    if "sky" in asked:
        own = (*own, *sources.sky(environ, count))
    if "runpod" in asked:
        own = (*own, *sources.runpod(environ, count))
    return own
