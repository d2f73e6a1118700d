"""``kohya-runner dataset caption`` and ``edit``: captions of a new version; the folder that is named is not touched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from kohya_runner.commands.entry import as_path, with_options
from kohya_runner.dataset.captioning import caption_edit
from kohya_runner.dataset.captioning.caption_dataset import caption_dataset, new_captions
from kohya_runner.dataset.captioning.caption_edit import EditPlan, apply
from kohya_runner.dataset.captioning.caption_text import CaptionSettings
from kohya_runner.engines.table import DEFAULT, user_settings
from kohya_runner.errors import TrainerError, UsageError, exit_code
from kohya_runner.findings import finding_json
from kohya_runner.install.checkout import find_trainer
from kohya_runner.run import views
from kohya_runner.run.taggers import TaggerPlace, captioner
from kohya_runner.show import console
from kohya_runner.text import counted, plain
from kohya_runner.workspace import Workspace
from kohya_runner.yamlio import Place, parse_value

_WHERE: tuple[Callable[[Any], Any], ...] = (
    click.option("--output", type=click.Path(), callback=as_path, help="Where the version goes (the workspace)."),
    click.option("--workspace", metavar="DIR", help="Where versions and models live."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)
_SHOWN = 20  # changes


@click.command()
@click.argument("folder", type=click.Path(), callback=as_path)
@click.option("--template", help='Such as "pixel art, {{ words }}, palette: {{ palette }}" (docs/caption.md).')
@click.option(
    "--tagger", type=click.Choice(("wd14", "git", "blip")), help="A captioner of sd-scripts; blip cannot run."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the tagger's script.")
@click.option("--endpoint", metavar="URL", help="An OpenAI-compatible address; its key is in KOHYA_CAPTION_API_KEY.")
@click.option("--model", help="The model of the endpoint; for a tagger a repository, a folder or a file.")
@click.option("--prompt", help="What the model is asked.")
@click.option("--trigger", metavar="WORD", help="The word that each caption begins with, or has in its sentence.")
@click.option("--threshold", type=float, help="For wd14: how sure it must be of a tag (0.35).")
@click.option("--concurrency", type=click.IntRange(1, 64), help="Requests at the same time (4).")
@click.option("--max-tokens", type=click.IntRange(1), help="Of one answer (300).")
@click.option("--max-requests", type=click.IntRange(1), help="Stop after so many, those of earlier runs counted.")
@click.option("--max-cost", type=float, help="Stop before more is spent; needs --price.")
@click.option("--price", nargs=2, type=float, metavar="IN OUT", help="Of a million tokens.")
@click.option("--overwrite", is_flag=True, help="Also the captions that you wrote by hand.")
@click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use, for a tagger.")
@with_options(*_WHERE)
def caption(
    folder: Path, output: Path | None, workspace: str | None, sd_scripts: str | None, as_json: bool, **given: Any  # noqa: FBT001
) -> int:  # fmt: skip
    """Make captions by a template, a tagger or a vision model."""
    pairs = (one.partition("=") for one in given["options"])
    given["options"] = {
        name.lstrip("-"): parse_value(value if sign else "true", Place("--option", Path())).plain()
        for name, sign, value in pairs
    }
    settings = CaptionSettings(**{name: value for name, value in given.items() if value is not None})
    folder, room = folder.absolute(), views.workspace(workspace)
    made_by = captioner(settings, lambda: tagger_place(sd_scripts, room), os.environ)
    step = settings.step(folder)
    target = new_captions(folder, step, output=output, prepared=room.prepared)
    done = caption_dataset(settings, folder, made_by, target=target, step=step)
    findings = [finding_json(finding) for finding in done.findings]
    if as_json:
        console.json_object({"version": 1, "ok": not findings, "folder": str(target), "written": done.written,
                             "known": done.known, "kept": list(done.kept), "findings": findings})  # fmt: skip
        return exit_code(done.findings)
    console.say(f"{target}: {counted(done.written, 'caption')} written, {done.known} there already")
    if done.kept:
        console.say(f"{counted(len(done.kept), 'caption')} of your own kept (--overwrite replaces them)")
    for finding in done.findings:
        console.note(str(finding))
    return exit_code(done.findings)


@click.command()
@click.argument("target", type=click.Path(), callback=as_path, metavar="[FOLDER]", required=False)
@click.option("--replace", nargs=2, multiple=True, metavar="OLD NEW", help="Text, wherever it is.")
@click.option("--replace-regex", nargs=2, multiple=True, metavar="PATTERN NEW", help="By a regular expression.")
@click.option("--remove", multiple=True, metavar="TAG", help="A tag: what is between two commas.")
@click.option("--deny", type=click.Path(), callback=as_path, help="A file with tags to remove, one a line.")
@click.option("--dedupe", is_flag=True, help="Tags that are there twice, once.")
@click.option("--sort", is_flag=True, help="Tags by the alphabet.")
@click.option("--order", metavar="TAG,TAG", help="These tags first, in this order.")
@click.option("--prefix", help="Text before each caption that does not begin with it.")
@click.option("--suffix", help="Text after each caption that does not end with it.")
@click.option("--trigger", metavar="WORD", help="The word that each caption begins with, or has in its sentence.")
@click.option("--from", "review", type=click.Path(), callback=as_path, help="A file that the page of a report saved.")
@click.option("--undo", is_flag=True, help="The version before, as a new one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_options(*_WHERE)
def edit(  # noqa: PLR0913, PLR0917
    target: Path | None, review: Path | None, undo: bool, yes: bool, output: Path | None, workspace: str | None,  # noqa: FBT001
    as_json: bool, **given: Any,  # noqa: FBT001
) -> int:  # fmt: skip
    """Change many captions at once: see what changes, say yes; each edit is a new version."""
    plan = _edit_plan(target.absolute() if target else None, review, undo=undo, given=given)
    if not as_json:
        _show_changes(plan)
    made = None
    if (plan.changes or plan.rejected) and (yes or (not as_json and _confirmed())):
        made = apply(plan, output=output, prepared=views.workspace(workspace).prepared)
    if as_json:
        changes = [{"file": one.file, "before": one.before, "after": one.after} for one in plan.changes]
        console.json_object({"version": 1, "ok": not plan.findings, "folder": str(made) if made else None,
                             "changes": changes, "rejected": list(plan.rejected),
                             "findings": [finding_json(finding) for finding in plan.findings]})  # fmt: skip
    elif made is not None:
        console.say(f"{made}: the new version; to go back: kohya-runner dataset edit {made} --undo")
    return exit_code(plan.findings)


def _edit_plan(target: Path | None, review: Path | None, *, undo: bool, given: Mapping[str, Any]) -> EditPlan:

    if sum((review is not None, undo, any(given.values()))) != 1:
        raise UsageError("one of changes, --from FILE and --undo", hint="such as --prefix 'pixel art, '")
    if review is not None:
        return caption_edit.reviewed(review, target)
    if target is None:
        raise UsageError("the folder is missing", hint="kohya-runner dataset edit FOLDER --prefix 'pixel art, '")
    if undo:
        return caption_edit.undone(target)
    texts = {name: value for name, value in given.items() if value and name not in ("deny", "order")}
    tags = [tag.strip() for tag in (given["order"] or "").split(",") if tag.strip()]
    denied = _lines(given["deny"]) if given["deny"] else ()
    remove = (*given["remove"], *denied)
    return caption_edit.planned(target, caption_edit.CaptionEdit(**{**texts, "remove": remove, "order": tuple(tags)}))


def _lines(path: Path) -> tuple[str, ...]:

    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"--deny {path}: {fault}") from None


def _show_changes(plan: EditPlan) -> None:

    for one in plan.changes[:_SHOWN]:
        console.say(plain(one.file), bold=True)
        console.say(f"- {one.before}", fg="red")
        console.say(f"+ {one.after}", fg="green")
    for name in plan.rejected:
        console.say(f"{plain(name)}: left out")
    more = f", {_SHOWN} of them shown" if len(plan.changes) > _SHOWN else ""
    console.say(f"{counted(len(plan.changes), 'caption')} of {len(plan.read.names)} change{more}")
    for finding in plan.findings:
        console.note(str(finding))


def _confirmed() -> bool:

    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask; nothing was written", hint="add --yes")
    return click.confirm("Write the new version?")


def tagger_place(sd_scripts: str | None, room: Workspace) -> TaggerPlace:
    """Where a tagger runs. Raises ``TrainerError`` where no trainer is here."""
    checkout, python = find_trainer(os.environ, user_settings(os.environ), sd_scripts=sd_scripts, engine=DEFAULT)
    if checkout is None or python is None:
        raise TrainerError("a tagger runs in the trainer's Python, which is not here", hint="run: kohya-runner setup")
    return TaggerPlace(python.path, checkout.root, room, dict(os.environ), console.note)
