"""``kohya-runner setup`` and ``upstream``: the trainer here, and what a move of it would bring."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kohya_runner.engines.table import DEFAULT, INFOS, user_settings
from kohya_runner.engines.upstream import compare, lines
from kohya_runner.install.environment import keep
from kohya_runner.install.setup import setup as set_up
from kohya_runner.show import console

_ENGINE = click.option("--engine", type=click.Choice(tuple(INFOS)), default=DEFAULT.name, help="Another trainer's.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")


@click.command()
@click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use.")
@click.option("--engine", type=click.Choice(tuple(INFOS)), help="Another trainer's; the recipe's, where one is named.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Also the launch.packages of this recipe.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe.")
@click.option("--trust", multiple=True, metavar="KEY", help="Allow what a key of the recipe makes happen.")
@click.option("--keep", "kept", is_flag=True, help="Then write the environment into $KOHYA_RUNNER_ARCHIVE, a folder.")
@_JSON
def setup(  # noqa: PLR0913, PLR0917 - one per option
    sd_scripts: str | None, engine: str | None, recipe: Path | None, overrides: tuple[str, ...],
    trust: tuple[str, ...], kept: bool, as_json: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """Get the trainer's sources and build its environment; does nothing where both are there."""
    packages: tuple[str, ...] = ()
    if recipe is not None:
        from kohya_runner.plan.pipeline import recipe_packages

        of_recipe, packages = recipe_packages(recipe, overrides, trust)
        engine = engine or of_recipe
    row, settings = INFOS[engine or DEFAULT.name], user_settings(os.environ)
    trainer = set_up(os.environ, settings, say=console.note, sd_scripts=sd_scripts, engine=row, packages=packages)
    console.note(f"ready: {row.name} in {trainer.checkout.root}, its Python {trainer.python.path}")
    if kept and trainer.python.own:
        keep(trainer.checkout, trainer.python.path, os.environ, console.note)
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
    found = compare(old, new, INFOS[engine])
    if as_json:
        console.json_object(found)
        return
    for line in lines(found):
        console.say(line)
