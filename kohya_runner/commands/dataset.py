"""``kohya-runner dataset``: what the trainer will really see of the pictures and captions."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kohya_runner.commands.entry import RunnerGroup, as_path, with_options
from kohya_runner.dataset.importing.new_version import ImportRequest, import_dataset
from kohya_runner.dataset.prepare import prepare as preparing
from kohya_runner.dataset.prepare.shaping import PrepareSettings, bucket_rests, settings_for, write_crops
from kohya_runner.errors import UsageError, exit_code
from kohya_runner.findings import finding_json, not_allowable
from kohya_runner.plan.inspection import Inspection, inspect, inspection_json, summary
from kohya_runner.plan.inspection_target import InspectionRequest, find_target
from kohya_runner.recipe.models import NAME
from kohya_runner.run import views
from kohya_runner.safe_files import write_text
from kohya_runner.show import console
from kohya_runner.show.dataset_page import PICTURES, report_html, stems_by_folder

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
    click.option("--fresh", is_flag=True, help="Decode every image again, whatever the cache knows."),
    click.option("--allow", "allowed", multiple=True, metavar="CODE", help="Turn the named error into a warning."),
    click.option("--caption-extension", metavar="EXT", help="For a folder: extension of the captions (.txt)."),
    click.option("--resolution", metavar="W,H", help="For a folder: resolution to train at (1024; sd15: 512)."),
    click.option("--family", help="For a folder: the model family it is for (sdxl)."),
    click.option("--sd-scripts", metavar="DIR", help="The sd-scripts checkout to use."),
    click.option("--workspace", metavar="DIR", help="Where the cache of what was read lives."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe."),
    click.argument("target", type=click.Path(), callback=as_path, metavar="FOLDER|RECIPE"),
)


LATER = {
    "caption": ("dataset_captions", "Make captions by a template, a tagger or a vision model."),
    "edit": ("dataset_captions", "Change many captions at once: see what changes, say yes; each edit is a version."),
}


def _absolute(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    return None if value is None else Path(os.path.abspath(value))


@click.group(cls=RunnerGroup, later=LATER)
def dataset() -> None:
    """What the trainer will really see of the pictures and captions."""


@dataset.command()
@with_options(*reversed(_OPTIONS))
def check(as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Read every picture and caption of a folder or recipe, and say what is wrong."""
    inspection = _inspected(quiet=as_json, **choices)
    _show(inspection, as_json=as_json)
    return inspection.exit_code


@dataset.command()
@with_options(*reversed(_OPTIONS))
@click.option("--output", type=click.Path(), callback=as_path, help="The HTML file to write.")
@click.option("--serve", is_flag=True, help="Instead: the page on this machine, which saves marks as they are made.")
@click.option("--pictures", type=click.IntRange(min=0), help="Most images with a thumbnail (3000).")
def report(output: Any, pictures: int | None, serve: bool, as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Make one self-contained HTML page of it, to look through, mark rejects and change captions (see: edit --from)."""
    if serve == (output is not None):
        raise UsageError("name either --output FILE.html or --serve")
    inspection = _inspected(quiet=as_json, **choices)
    most = PICTURES if pictures is None else pictures
    progress = console.scan_progress(quiet=as_json)
    if serve:
        return _serve(inspection, as_json=as_json, pictures=most, on_progress=progress)
    page = report_html(inspection, pictures=most, on_progress=progress)
    try:
        write_text(output, page)
    except OSError as problem:
        raise UsageError(f"--output {output}: {problem.strerror or problem}") from problem
    _show(inspection, as_json=as_json)
    console.note(f"wrote {output}")
    return inspection.exit_code


def _serve(inspection: Inspection, *, as_json: bool, **choices: Any) -> int:
    """Until Ctrl-C."""
    from kohya_runner.show.review_server import ReviewServer, saved_reviews

    room, known = inspection.target.workspace.root / "reviews", stems_by_folder(inspection)
    page = report_html(inspection, marked=saved_reviews(room, known), saves=True, **choices)
    with ReviewServer(page, room, known) as server:
        if as_json:
            console.json_object({"version": 1, "ok": True, "address": server.address, "reviews": str(room)})
        else:
            console.say(f"{server.address}\nmarks are kept in {room}; Ctrl-C ends")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


@dataset.command()
@with_options(
    click.argument("folder", type=click.Path(), callback=_absolute),
    click.option(
        "--output", required=True, type=click.Path(), callback=_absolute, help="The folder of the new version."
    ),
    click.option("--pixel-art", is_flag=True, help="Find the true pixels, and enlarge them whole times."),
    click.option("--photos", is_flag=True, help="Make smaller where the bucket needs it, never larger (the default)."),
    click.option("--size", type=click.IntRange(64, 4096), default=1024, help="Resolution to train at (1024)."),
    click.option("--format", type=click.Choice(("png", "jpeg")), default="png", help="PNG, or JPEG of quality 95."),
    click.option("--background", default="white", metavar="COLOUR", help="What is behind transparent pixels (white)."),
    click.option("--crop", is_flag=True, help="Crop to the bucket's shape, at the point of NAME.focus or the middle."),
    click.option("--preview", type=click.Path(), callback=_absolute, metavar="DIR", help="Write sheets of the crops."),
    click.option("--keep-near", is_flag=True, help="Keep photographs that only look the same."),
    click.option("--batch", type=click.IntRange(1), default=1, help="Tell which buckets fill no batch of this size."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)
def prepare(folder: Any, output: Any, as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Convert, turn, reduce and crop pictures into a new folder with a manifest; FOLDER is never touched."""
    settings, source, target = _settings(choices), folder, output
    show = console.scan_progress(quiet=as_json)
    progress = None if show is None else lambda done, total: show(f"preparing {source.name}", done, total)
    done = preparing.prepare(source, target, settings, progress=progress)
    sheets = write_crops(source, choices["preview"], settings) if choices["preview"] else ()
    found = (*done.findings, *bucket_rests(done.version, settings, choices["batch"]))
    told = {
        "version": 1, "folder": str(target), "pictures": len(done.version.pictures), "made": done.made,
        "set_aside": len(done.version.set_aside), "previews": [str(sheet) for sheet in sheets],
        "findings": [finding_json(one) for one in found],
    }  # fmt: skip
    if as_json:
        console.json_object(told)
        return 0
    rows = [
        ("pictures", f"{told['pictures']} in {target}, {done.made} of them looked at this time"),
        ("set aside", f"{told['set_aside']}, listed in {target / 'manifest.json'}"),
        *(("crops", str(sheet)) for sheet in sheets),
    ]
    console.summary(rows, found, f"next: kohya-runner dataset check {target}", good=True)
    return 0


def _settings(choices: dict[str, Any]) -> Any:
    from PIL import ImageColor

    if choices["pixel_art"] and choices["photos"]:
        raise UsageError("--pixel-art does not go with --photos", hint="leave one of the two out")
    try:
        ImageColor.getrgb(choices["background"])
    except ValueError as fault:
        raise UsageError(f"--background {choices['background']}: no colour", hint="write white or #ff00ff") from fault
    style = "pixel_art" if choices["pixel_art"] else "photos"
    named = {name: choices[name] for name in ("background", "format", "crop", "keep_near")}
    return PrepareSettings(settings_for(choices["size"]), style, **named)  # type: ignore[arg-type]


@dataset.command(name="import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="SOURCE...")
@click.option("--output", type=click.Path(), callback=_absolute, help="The folder to write.")
@click.option("--name", metavar="NAME", help="Instead: the next version of this name in the workspace.")
@click.option("--images", type=click.Path(), callback=_absolute, help="Where the pictures of a metadata file are.")
@click.option("--split-by", default="", metavar="KEY", help="An entry for each value of this column, else each folder.")
@click.option("--merge", is_flag=True, help="All sources become one entry, not one each.")
@click.option("--workspace", metavar="DIR", help="Where versions of datasets live.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
def import_(sources: tuple[str, ...], as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Copy pictures and captions out of folders, zip files, metadata files and kohya's trees.

    Nothing is changed in a SOURCE. The entries for a recipe are printed, and written as datasets.yaml.
    """
    made = import_dataset(_import_request(sources, **choices), console.scan_progress(quiet=as_json))
    code = exit_code(made.findings)
    captions = sum(1 for one in made.pictures if one.caption_sha256)
    if as_json:
        found = [finding_json(finding) for finding in made.findings]
        said = {"folder": str(made.folder), "pictures": len(made.pictures), "captions": captions}
        console.json_object({"version": 1, "ok": not code, **said, "copied": made.copied, "datasets": made.entries,
                             "findings": found})  # fmt: skip
        return code
    rows = (("folder", str(made.folder)), ("pictures", f"{len(made.pictures)}, {made.copied} copied now"),
            ("captions", str(captions)))  # fmt: skip
    verdict = "the lines below go into a recipe" if not code else "some of it was left out: see above"
    console.summary(rows, made.findings, verdict, good=not code)
    console.say(made.entries)
    return code


def _import_request(sources: tuple[str, ...], workspace: str | None, **choices: Any) -> Any:

    name, output = choices.pop("name"), choices["output"]
    if (name is None) == (output is None):
        raise UsageError("where to: name either --output DIR or --name NAME")
    if name is not None and not NAME.match(name):
        raise UsageError(f"--name {name}: a name has letters, digits, '.', '_' and '-' only")
    paths = tuple(Path(os.path.abspath(one)) for one in sources)
    return ImportRequest(paths, views.workspace(workspace).prepared, name or output.name, **choices)


def _inspected(*, quiet: bool, fresh: bool, allowed: tuple[str, ...], **choices: Any) -> Inspection:

    refused = not_allowable(allowed)
    if refused:
        raise UsageError(f"--allow: {refused}")
    progress = console.scan_progress(quiet=quiet)
    return inspect(find_target(InspectionRequest(**choices)), fresh=fresh, allowed=allowed, on_progress=progress)


def _show(inspection: Inspection, *, as_json: bool) -> None:

    if as_json:
        console.json_object(inspection_json(inspection))
        return
    waits = any(finding.code == "dataset.unprepared" for finding in inspection.findings)
    good = "no errors so far: launch makes the data first" if waits else "no errors: you can train with this data"
    errors = sum(1 for finding in inspection.findings if finding.severity.value == "error")
    verdict = good if inspection.ok else f"{errors} error{'s' if errors > 1 else ''}: correct before training"
    console.summary(summary(inspection), inspection.findings, verdict, good=inspection.ok)
