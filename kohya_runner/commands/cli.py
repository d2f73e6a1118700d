"""The commands: parse, call one function, print, exit code. Nothing is imported before it is needed."""

from __future__ import annotations

from typing import Any

import click

from kohya_runner import __version__
from kohya_runner.commands.entry import (
    RunnerGroup,
    ServingCommand,
    as_path,
    complete_families,
    complete_recipes,
    complete_runs,
    place_options,
    serving_options,
    with_options,
)

_RECIPE = click.argument("recipe", type=click.Path(), callback=as_path, shell_complete=complete_recipes)
_SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe.")
_WORKSPACE = click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live.")
_SD_SCRIPTS = click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use.")
_ALLOW = click.option("--allow", multiple=True, metavar="CODE", help="Turn the named error into a warning.")
_TRUST = click.option(
    "--trust", multiple=True, metavar="KEY", help="Let this key of the recipe do what it asks for (docs/security.md)."
)
_FRESH = click.option("--fresh", is_flag=True, help="Read every picture again, whatever the cache knows.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")


_SAID = {
    "compare": "Paint the same prompts with every epoch, and pick by looking (the latest run, or what is named).",
    "cost": "What a run costs: card, price, time and money, as far as each was measured or asked.",
    "dataset": "What the trainer will really see of the pictures and captions.",
    "diagnose": "Why did it fail? Reads any log of sd-scripts, kohya_ss's too; - is stdin, a name is a run "
    "(default: the latest).",
    "export": "Print the plain command of a recipe with its folders: a script that needs no kohya-runner.",
    "import": "Make a recipe of what you have: kohya_ss settings, TOML, a script, a notebook, a LoRA.",
    "metrics": "Loss, speed and learning rates of a run, a JSON object for each step, or for TensorBoard.",
    "publish": "Publish LoRA files to the Hub with a model card, or copy them: a run's picked epoch, or files.",
    "report": "Write one self-contained HTML page about a run: recipe, curves, samples, checkpoints, timings.",
    "setup": "Get the trainer's sources and build its environment; does nothing where both are there.",
    "sweep": "Train a recipe with each combination of values in turn, and compare the results.",
    "stop": "Stop a run now, after the step or after the next save; a second request stops harder.",
    "upstream": "What changed between two checkouts of a trainer (or REPOSITORY@COMMIT), and the rules it touches.",
    "verify": "Open LoRA files, ours or not: what they are, how they were trained, what is wrong with them.",
    "watch": "Watch a run live; q or Ctrl-C leaves it alone.",
}
_MODULES = dict.fromkeys(("export", "import"), "importing") | dict.fromkeys(("setup", "upstream"), "trainer")
_MODULES |= dict.fromkeys(("metrics", "report", "stop", "watch"), "live")
LATER = {name: (_MODULES.get(name, name), said) for name, said in _SAID.items()}
"""Commands that are imported when they are called: their module, and what --help says of them."""


_recipe_options = with_options(_RECIPE, _SET, _WORKSPACE, _SD_SCRIPTS, _ALLOW, _TRUST, _FRESH, _JSON)


@click.group(
    cls=RunnerGroup, later=LATER, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="kohya-runner")
def main() -> None:
    """One YAML recipe becomes a checked, guarded sd-scripts training run.

    No GPU minute is paid for a run that could have been known to fail.
    """


@main.command()
@_recipe_options
@click.option(
    "--elsewhere", is_flag=True, help="The run is for another machine: leave this one's GPU, disk and trainer out."
)
@click.option("--argv", is_flag=True, help="Show the trainer's command line on a terminal, too.")
@click.option("--hash", "thorough", is_flag=True, help="Read the model files for their SHA-256; kept for later plans.")
def plan(elsewhere: bool, as_json: bool, argv: bool, **choices: Any) -> int:  # noqa: FBT001
    """Show what a launch would do; nothing is written."""
    from kohya_runner.plan.pipeline import make_plan
    from kohya_runner.plan.report import exit_code, plan_json
    from kohya_runner.plan.value import Request
    from kohya_runner.show import console

    made = make_plan(Request(elsewhere=elsewhere, **choices), on_progress=console.scan_progress(quiet=as_json))
    if as_json:
        console.json_object(plan_json(made))
    else:
        console.plan(made, argv=argv)
    return exit_code(made)


@main.command(cls=ServingCommand)
@_recipe_options
@serving_options
@click.option("--dry-run", is_flag=True, help="Stop after the plan; nothing is written.")
@click.option("--practice", is_flag=True, help="A stand-in process instead of the trainer. Trains nothing.")
@click.option("--once", is_flag=True, help="Done before with the same recipe and data: nothing to do, exit code 0.")
@click.option("--again", is_flag=True, help="Train once more although the same run was done before.")
@click.option("--detach", is_flag=True, help="Check here, then train in the background; see: watch, stop, logs -f.")
@click.option("--resume", is_flag=True, help="Continue the run of this name if it was cut; safe to repeat.")
@click.option("--rehearse", is_flag=True, help="A few real steps and one save first: exact time, cost and space.")
@click.option("--prepare", is_flag=True, help="Only fetch the models and lay the dataset out; needs no trainer.")
@click.option("--go", is_flag=True, help="After --rehearse, start the whole run if no problem was found.")
@place_options
def launch(dry_run: bool, as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Check everything, then train, watched."""
    from kohya_runner.commands import launch as launch_cli
    from kohya_runner.commands.remote import OnOptions
    from kohya_runner.plan.value import Request

    others = {name: choices.pop(name) for name in ("once", "again", "detach", "rehearse", "go", "serve", "bind")}
    there = {key: choices.pop(key) for key in OnOptions.__slots__}
    only_ahead = choices.pop("prepare")
    request = Request(deep=not (dry_run or only_ahead), **choices)
    if only_ahead and not dry_run:
        return launch_cli.ahead(request, OnOptions(**there), as_json=as_json)
    return launch_cli.launch(
        request,
        launch_cli.LaunchOptions(dry_run=dry_run, as_json=as_json, there=OnOptions(**there), **others),
    )


@main.group(invoke_without_command=True)
@_WORKSPACE
@click.option("--remote", is_flag=True, help="Those at places, what they cost, and what is billed there now.")
@_JSON
@click.pass_context
def runs(context: click.Context, workspace: str | None, remote: bool, as_json: bool) -> None:  # noqa: FBT001
    """List the runs of this workspace; runs diff A B shows what two differ in."""
    from kohya_runner.commands import remote as places
    from kohya_runner.run import views
    from kohya_runner.show import run_screen

    if remote and context.invoked_subcommand is None:
        places.runs_remote(workspace, as_json=as_json)
    elif context.invoked_subcommand is None:
        places.refresh_all(workspace)
        run_screen.runs(views.all_runs(workspace), as_json=as_json)


@runs.command("diff")
@click.argument("before", metavar="A", shell_complete=complete_runs)
@click.argument("after", metavar="B", shell_complete=complete_runs)
@_WORKSPACE
@_JSON
@click.pass_context
def runs_diff(context: click.Context, before: str, after: str, workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """What two runs differ in, and what that did. A and B: runs, or their folders, in other workspaces too."""
    from kohya_runner.run.run_diff import run_diff
    from kohya_runner.show import run_screen

    outer = context.parent.params if context.parent else {}
    made = run_diff(workspace or outer.get("workspace"), before, after)
    run_screen.diff(made, as_json=as_json or bool(outer.get("as_json")))


@main.command()
@click.argument("run", required=False, shell_complete=complete_runs)
@_WORKSPACE
@click.option("--adopt", is_flag=True, help="Watch a trainer whose runner is gone.")
@_JSON
def status(run: str | None, workspace: str | None, adopt: bool, as_json: bool) -> int:  # noqa: FBT001
    """How a run is doing (the latest one, or the named one)."""
    from kohya_runner.commands import remote
    from kohya_runner.finish.after import AFTER_RUN
    from kohya_runner.run import views
    from kohya_runner.show import console, run_screen

    remote.refresh(workspace, run)
    view = views.one_run(workspace, run)
    if adopt:
        with console.live(quiet=as_json, practice=False) as screen:
            view = views.take_over(view, screen, AFTER_RUN)
    run_screen.status(view, as_json=as_json)
    return views.exit_code(view)


@main.command()
@click.argument("run", required=False, shell_complete=complete_runs)
@_WORKSPACE
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=40, show_default=True, help="How many lines; 0 for all."
)
@click.option("-f", "--follow", is_flag=True, help="Follow the log as it grows, until the run ends.")
def logs(run: str | None, workspace: str | None, lines: int, follow: bool) -> None:  # noqa: FBT001
    """Show the trainer's log of a run."""
    from kohya_runner.commands import remote
    from kohya_runner.run import views
    from kohya_runner.show import console

    stays = remote.refresh(workspace, run)
    with remote.mirrored(stays if follow else None):
        for line in views.log_lines(views.one_run(workspace, run), lines, follow=follow):
            console.say(line)


@main.command()
@click.argument("words", nargs=-1, metavar="[SCRIPT|FAMILY] [WORDS...]")
@_SD_SCRIPTS
@_JSON
def options(words: tuple[str, ...], sd_scripts: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Look up the trainer's options, with their help: those that hold all WORDS, of all scripts or of one."""
    from kohya_runner.engines import catalogue
    from kohya_runner.show import console

    console.options(catalogue.options(words, sd_scripts), as_json=as_json)


@main.command()
@click.argument("family", required=False, shell_complete=complete_families)
@_JSON
def models(family: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Which model families and methods are supported; of one FAMILY with scripts, recipes and reasons."""
    from kohya_runner.engines import catalogue
    from kohya_runner.show import console

    console.models(catalogue.models(family), as_json=as_json, family=family)


@main.command()
@click.argument("name")
@click.option("--family", required=True, shell_complete=complete_families, help="A family of: kohya-runner models")
@click.option("--images", required=True, type=click.Path(), callback=as_path, help="The folder of pictures.")
@click.option("--output", type=click.Path(), callback=as_path, help="The file to write; NAME.yaml by default.")
def new(name: str, family: str, images: Any, output: Any) -> None:
    """Write a recipe that fits the pictures, each value with its reason."""
    from pathlib import Path

    from kohya_runner.commands.new import write
    from kohya_runner.show import console

    console.note(write(name, family, images, output or Path(f"{name}.yaml")))


@main.command()
@_SD_SCRIPTS
@_WORKSPACE
@_JSON
def doctor(sd_scripts: str | None, workspace: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Can this machine train?"""
    from kohya_runner.engines.table import INFOS
    from kohya_runner.machine import doctor as examine
    from kohya_runner.show import console

    report = examine.doctor(tuple(INFOS.values()), sd_scripts, workspace)
    console.doctor(report, as_json=as_json)
    return report.exit_code


@main.command()
@click.argument("words", nargs=-1)
@_JSON
@click.option("--markdown", is_flag=True, help="As docs/rules.md has them.")
def rules(words: tuple[str, ...], as_json: bool, markdown: bool) -> None:  # noqa: FBT001
    """Everything that is checked before a run starts, or what holds all WORDS."""
    from kohya_runner.engines.rules_page import rules_json, rules_markdown
    from kohya_runner.show import console

    if markdown:
        click.echo(rules_markdown(), nl=False)
    else:
        console.rules(rules_json(words), as_json=as_json)


@main.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from kohya_runner.commands.new import schema_text

    click.echo(schema_text(), nl=False)


if __name__ == "__main__":
    main()
