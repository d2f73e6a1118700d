"""``kohya-runner import`` and ``export``: the way in from other programs, and the way out."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from kohya_runner import safe_files
from kohya_runner.commands.entry import as_path, complete_recipes
from kohya_runner.errors import UsageError
from kohya_runner.importing.paths import Places, read_maps
from kohya_runner.importing.reading import MOST, Foreign, classify, read
from kohya_runner.importing.recipe import writer
from kohya_runner.importing.script import shell_script
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import exit_code
from kohya_runner.plan.value import Request
from kohya_runner.show import console

PASTED = "-"


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--base", type=click.Path(), callback=as_path, help="Look for files and folders below this folder.")
@click.option("--map", "maps", multiple=True, metavar="OLD=NEW", help="Paths that begin with OLD begin with NEW here.")
@click.option("--script", metavar="NAME", help="The train script, where the file names none.")
@click.option("-o", "--output", type=click.Path(), callback=as_path, help="The recipe to write; NAME.yaml by default.")
@click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live.")
def import_(files: tuple[str, ...], **choices: Any) -> int:
    """Make a recipe of what you have: kohya_ss settings, TOML, a script, a notebook, a LoRA.

    The recipe is planned then; - is a command pasted on standard input. Several files are one set-up: a script and the
    files that it names.
    """
    found = [_read(name) for name in files]
    output: Path = choices["output"] or Path(f"{found[0].path.stem or 'imported'}.yaml")
    if output.exists():
        raise UsageError(f"{output} exists and is left as it is", hint="choose another -o")
    setup = read(found, choices["script"])
    here, there = found[0].path.absolute().parent, output.absolute().parent
    made = writer(setup, Places(here, there, choices["base"], read_maps(choices["maps"])))
    shown = shlex.quote(str(output))
    safe_files.write_text(output, made.text(shown))
    console.note(f"wrote {output}: {setup.kind}, {setup.script}")
    for note in setup.notes:
        console.note(f"{note.key}: {note.text}")
    for option, variable in setup.secrets.items():
        console.note(f"{option} is a secret and was left out: set {variable} in the environment")
    return _plan(output, choices["workspace"])


def _plan(recipe: Path, workspace: str | None) -> int:

    made = make_plan(Request(recipe=recipe, workspace=workspace), on_progress=console.scan_progress(quiet=False))
    console.plan(made)
    return exit_code(made)


def _read(name: str) -> Foreign:
    if name == PASTED:
        return classify(Path("pasted"), sys.stdin.buffer.read(MOST))
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a folder", hint="name the file in it that says how it was trained")
    if not path.is_file():
        raise UsageError(f"{name}: no such file")
    with path.open("rb") as file:
        return classify(path, file.read(MOST if path.suffix != ".safetensors" else 16))


@click.command()
@click.argument("recipe", type=click.Path(), callback=as_path, shell_complete=complete_recipes)
@click.option("--format", "form", type=click.Choice(["sh"]), default="sh", show_default=True, help="What to print.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe.")
@click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live.")
def export(
    recipe: Path,
    form: str,  # noqa: ARG001 - one format so far
    overrides: tuple[str, ...],
    workspace: str | None,
) -> int:
    """Print the plain command of a recipe with its folders: a script that needs no kohya-runner."""
    made = make_plan(Request(recipe=recipe, overrides=overrides, workspace=workspace))
    if made.command is None:
        console.plan(made)
        return exit_code(made) or os.EX_DATAERR
    click.echo(shell_script(made), nl=False)
    return 0
