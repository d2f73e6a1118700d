"""``kohya-runner setup`` and ``upstream``: the trainer here, and what a move of it would bring."""

from __future__ import annotations

import os

import click

from kohya_runner.engines.table import DEFAULT, INFOS

_ENGINE = click.option("--engine", type=click.Choice(tuple(INFOS)), default=DEFAULT.name, help="Another trainer's.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")


@click.command()
@click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use.")
@_ENGINE
@_JSON
def setup(sd_scripts: str | None, engine: str, as_json: bool) -> None:  # noqa: FBT001
    """Get the trainer's sources and build its environment; does nothing where both are there."""
    from kohya_runner.engines.table import user_settings
    from kohya_runner.install.setup import setup as set_up
    from kohya_runner.show import console

    row = INFOS[engine]
    trainer = set_up(os.environ, user_settings(os.environ), say=console.note, sd_scripts=sd_scripts, engine=row)
    console.note(f"ready: {row.name} in {trainer.checkout.root}, its Python {trainer.python.path}")
    if as_json:
        places = {row.setting: str(trainer.checkout.root), row.python_setting: str(trainer.python.path)}
        console.json_object({"version": 1, "ok": True, **places})


@click.command()
@click.argument("old")
@click.argument("new")
@_ENGINE
@_JSON
def upstream(old: str, new: str, engine: str, as_json: bool) -> None:  # noqa: FBT001
    """What changed between two checkouts of a trainer (or REPOSITORY@COMMIT), and the rules it touches."""
    from kohya_runner.engines.upstream import compare, lines
    from kohya_runner.show import console

    found = compare(old, new, INFOS[engine])
    if as_json:
        console.json_object(found)
        return
    for line in lines(found):
        console.say(line)
