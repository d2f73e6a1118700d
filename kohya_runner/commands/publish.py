"""``kohya-runner publish``: the picked epoch, or any LoRA files, to a repository of the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from kohya_runner.commands.entry import complete_runs, with_options
from kohya_runner.compare.subject import Named, find_subject
from kohya_runner.errors import UsageError
from kohya_runner.hub import access
from kohya_runner.publish import publishing
from kohya_runner.publish.publishing import LocalCopy, copied
from kohya_runner.recipe.finish import Publish
from kohya_runner.show import console
from kohya_runner.text import size

_OPTIONS = (
    click.argument("targets", nargs=-1, metavar="[RUN|FOLDER|FILES...]", shell_complete=complete_runs),
    click.option("--repo", metavar="USER/NAME", help="The repository; made private if it is not there."),
    click.option("--output", metavar="DIR", type=click.Path(path_type=Path), help="A folder in place of a repository."),
    click.option("--epoch", metavar="N|last", help="This epoch (the picked one, else the one compare suggests)."),
    click.option("--all", "every", is_flag=True, help="Every epoch that was saved."),
    click.option("--public", is_flag=True, help="Anybody may see it."),
    click.option("--clean", is_flag=True, help="Without words of captions, names of folders and paths in the files."),
    click.option(
        "--comfyui", is_flag=True, help="A converted copy, too, where ComfyUI does not read the file as it is."
    ),
    click.option("--title", metavar="TEXT", help="Of the card and the files (the recipe's name)."),
    click.option("--trigger", multiple=True, metavar="WORD", help="The words that call what was learnt."),
    click.option("--base-model", metavar="USER/NAME", help="The base model's repository, for the card."),
    click.option("--license", metavar="NAME", help="The base model's licence (what its own card says)."),
    click.option("--dry-run", is_flag=True, help="Write a page with the card and the files; nothing is uploaded."),
    click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)


@click.command()
@with_options(*_OPTIONS)
def publish(targets: tuple[str, ...], workspace: str | None, as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Publish LoRA files to the Hub with a model card, or copy them: a run's picked epoch, or files."""
    dry_run, output = choices.pop("dry_run"), choices.pop("output")
    settings, reach = _settings(**choices), access(os.environ)
    if (output is None) == (not settings.repo) or (output and (dry_run or settings.public)):
        hint = "--output goes with neither --repo nor --dry-run nor --public" if output else "--output DIR: no upload"
        raise UsageError("name one place: --repo USER/NAME, or --output DIR", hint=hint)
    if output is not None:
        return _copied(targets, workspace, settings, output, as_json=as_json)
    with console.live(quiet=as_json, practice=False) as screen:
        subject = find_subject(Named(targets=targets, workspace=workspace), painting=False)
        made = publishing.prepared(subject, settings, reach, os.environ, asked=True, say=screen.notice)
        page = publishing.dry_run(made, reach, screen.notice) if dry_run else None
        done = None if dry_run else publishing.publish(made, reach, screen.notice)
    if as_json:
        console.json_object({**publishing.result(made, done), "page": str(page) if page else None})
        return 0
    address = f"{reach.endpoint}/{settings.repo}"
    ended = f"{publishing.told(made, done)}\n{address}" if done else f"nothing was uploaded; look at it: {page}"
    for line in (*made.notes, ended):
        console.say(line)
    return 0


def _copied(targets: tuple[str, ...], workspace: str | None, settings: Publish, output: Path, *, as_json: bool) -> int:

    with console.live(quiet=as_json, practice=False) as screen:
        subject = find_subject(Named(targets=targets, workspace=workspace), painting=False)
        told = copied(subject, settings, output, os.environ, screen.notice)
    if as_json:
        console.json_object(told)
    for file in () if as_json else told["files"]:
        how = "converted" if file["converted"] else "the same tensors"
        console.say(
            f"{output / file['name']} ({size(file['bytes'])}, {how}{', for ComfyUI' if settings.comfyui else ''})"
        )
    return 0


def _settings(*, every: bool, epoch: str | None, repo: str | None, **choices: Any) -> Publish:

    if every and epoch:
        raise UsageError("--all does not go with --epoch", hint="leave one of the two out")
    number = int(epoch) if epoch and epoch.isascii() and epoch.isdigit() else epoch
    try:
        wanted = {"epoch": "all" if every else number or "picked", **choices}
        return Publish.model_validate(wanted | {"repo": repo}) if repo else LocalCopy.model_validate(wanted)
    except ValidationError as fault:
        lines = [
            f"--{str(one['loc'][0]).replace('_', '-')}: {one['msg'].removeprefix('Value error, ')}"
            for one in fault.errors(include_url=False)
        ]
        raise UsageError("\n".join(dict.fromkeys(lines))) from None
