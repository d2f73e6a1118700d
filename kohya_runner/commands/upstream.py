"""``kohya-runner upstream OLD NEW``: what a move of the pinned trainer would bring."""

from __future__ import annotations

import click

from kohya_runner.engines.table import DEFAULT, INFOS


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--engine", type=click.Choice(tuple(INFOS)), default=DEFAULT.name, help="Another trainer's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
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
