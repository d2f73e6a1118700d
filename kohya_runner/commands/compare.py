"""``kohya-runner compare``: pick the epoch by looking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kohya_runner.commands import remote
from kohya_runner.commands.entry import as_path, complete_families, complete_runs, with_options
from kohya_runner.compare.checkpoints import choose, pick
from kohya_runner.compare.comparison import Comparison
from kohya_runner.compare.metrics import shown
from kohya_runner.compare.settings import SweepOptions
from kohya_runner.compare.subject import Named, find_subject
from kohya_runner.compare.sweep import compare as compared
from kohya_runner.compare.sweep import find_checkpoints
from kohya_runner.compare.write_up import result_json
from kohya_runner.errors import UsageError
from kohya_runner.record.run_paths import ComparisonPaths
from kohya_runner.show import console

FAILED = 8  # the exit code where a cell failed: the trainer's script ended with an error (docs/exit-codes.md)

_OPTIONS = (
    click.argument("targets", nargs=-1, metavar="[RUN|FOLDER|FILES...]", shell_complete=complete_runs),
    click.option("--prompts", "prompts_file", type=click.Path(), callback=as_path, help="A file, one prompt a line."),
    click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="A prompt; may be given several times."),
    click.option("--negative", metavar="TEXT", help="The negative prompt of all of them."),
    click.option("--seeds", metavar="N,N", help="A picture per prompt and seed (42)."),
    click.option("--steps", type=int, help="Sampler steps (30)."),
    click.option("--guidance", type=float, help="Guidance scale (7.5; flux 3.5)."),
    click.option("--size", metavar="WxH", help="Pixels (the run's resolution, else 1024x1024)."),
    click.option("--strengths", metavar="X,X", help="The LoRA's multipliers (1.0)."),
    click.option("--sampler", metavar="NAME,NAME", help="Of sd15, sd2 and sdxl (ddim); several are an axis."),
    click.option("--base/--no-base", default=None, help="A column of the base model alone (yes)."),
    click.option("--trigger", "triggers", multiple=True, metavar="WORD", help="The LoRA's word, for the bleed figure."),
    click.option("--control", "controls", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
                 help="A picture to edit, for flux_kontext and flux2: one for each prompt, or one for all."),
    click.option("--clip", type=click.Path(), callback=as_path, metavar="DIR",
                 help="A folder with a CLIP model, for two more figures; nothing is downloaded."),
    click.option("--recipe", type=click.Path(), callback=as_path, help="For files: the recipe with their base model."),
    click.option("--family", shell_complete=complete_families, help="For files: the family of their base model."),
    click.option("--model", metavar="FILE|ID", help="For files: their base model."),
    click.option("--component", "components", multiple=True, metavar="NAME=FILE", help="For files: ae, clip_l, ..."),
    click.option("--images", type=click.Path(), callback=as_path, metavar="FOLDER",
                 help="Compare the sample pictures that a training made; paints nothing."),
    click.option("--pick", type=int, metavar="N", help="Link the file of epoch N as NAME-picked.safetensors."),
    click.option("--output", type=click.Path(), callback=as_path, metavar="DIR", help="Where the result goes."),
    click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live."),
    click.option("--trust", multiple=True, metavar="KEY", help="Paint though it may run code (docs/security.md)."),
    click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)  # fmt: skip


@click.command()
@with_options(*_OPTIONS)
def compare(as_json: bool, sd_scripts: str | None, images: Any, pick: int | None, **choices: Any) -> int:  # noqa: FBT001
    """Paint the same prompts with every epoch, and pick by looking (the latest run, or what is named)."""
    names = ("targets", "recipe", "family", "model", "components", "output", "workspace", "trust")
    named = Named(**{name: choices.pop(name) for name in names})
    if images is not None:
        if named.targets or pick is not None:
            raise UsageError("--images goes alone", hint="leave the run and --pick out")
        from kohya_runner.compare.samples import compare_images

        output = named.output.absolute() if named.output else None
        show(compare_images(images.absolute(), output), as_json=as_json)
        return 0
    if pick is not None:
        return _pick(named, pick, as_json=as_json)
    return _sweep(named, choices, sd_scripts, as_json=as_json)


def _sweep(named: Any, choices: dict[str, Any], sd_scripts: str | None, *, as_json: bool) -> int:

    if len(named.targets) <= 1 and not any(Path(one).exists() for one in named.targets):
        remote.refresh(named.workspace, next(iter(named.targets), None), everything=True)
    with console.live(quiet=as_json, practice=False) as screen:
        found = compared(named, SweepOptions(**choices), sd_scripts=sd_scripts, say=screen.event)
    show(found, as_json=as_json)
    return FAILED if found.failed else 0


def _pick(named: Any, number: int, *, as_json: bool) -> int:

    subject = find_subject(named, painting=False)
    record = pick(subject, choose(find_checkpoints(subject), number), number)
    if as_json:
        console.json_object({**record, "ok": True})
    else:
        instead = f" instead of {record['replaced']}" if record.get("replaced") else ""
        console.note(f"{record['label']} is picked{instead}: {record['target']}")
    return 0


def show(found: Comparison, *, as_json: bool) -> None:
    if as_json:
        console.json_object(result_json(found))
        return
    marks = {found.suggestion.column: "suggested"}
    rows = found.table.rows()
    lines = [
        (head.label, *(shown(found.table.columns[n].get(m.key)) for m in rows), marks.get(n, ""))
        for n, head in enumerate(found.columns)
    ]
    if any(floor is not None for floor in found.table.floors.values()):
        lines.append(("noise", *(shown(found.table.floors.get(m.key)) for m in rows), ""))
    console.table(("checkpoint", *(m.title for m in rows), ""), lines, empty="no checkpoints")
    for skipped in found.skipped:
        console.say(f"left out: {skipped.path.name} {skipped.reason}")
    for failed in found.failed:
        row = f"prompt {failed.prompt + 1}, {failed.row.said(several=len(found.samplers) > 1)}"
        console.say(f"failed: {found.columns[failed.column].label}, {row}: {failed.problem}")
    for note in found.notes:
        console.say(note)
    if found.hint:
        console.say(found.hint)
    console.say(f"\n{found.suggestion.title.lower()}: {found.suggestion.reason}")
    paths = ComparisonPaths(found.folder)
    console.say(f"{paths.page}\n{paths.sheet}")
