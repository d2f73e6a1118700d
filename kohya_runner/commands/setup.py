"""``kohya-runner setup``: the trainer's sources and its environment."""

from __future__ import annotations

import os

import click

from kohya_runner.engines.table import DEFAULT, INFOS


@click.command()
@click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use.")
@click.option("--engine", type=click.Choice(tuple(INFOS)), default=DEFAULT.name, help="Another trainer's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
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
