"""``kohya-runner dataset prepare``: a folder of any pictures made into one that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kohya_runner.commands.entry import as_path, with_options


@click.command()
@with_options(
    click.argument("folder", type=click.Path(), callback=as_path),
    click.option("--output", required=True, type=click.Path(), callback=as_path, help="The folder of the new version."),
    click.option("--pixel-art", is_flag=True, help="Find the true pixels, and enlarge them whole times."),
    click.option("--photos", is_flag=True, help="Make smaller where the bucket needs it, never larger (the default)."),
    click.option("--size", type=click.IntRange(64, 4096), default=1024, help="Resolution to train at (1024)."),
    click.option("--format", type=click.Choice(("png", "jpeg")), default="png", help="PNG, or JPEG of quality 95."),
    click.option("--background", default="white", metavar="COLOUR", help="What is behind transparent pixels (white)."),
    click.option("--crop", is_flag=True, help="Crop to the bucket's shape, at the point of NAME.focus or the middle."),
    click.option("--preview", type=click.Path(), callback=as_path, metavar="DIR", help="Write sheets of the crops."),
    click.option("--keep-near", is_flag=True, help="Keep photographs that only look the same."),
    click.option("--batch", type=click.IntRange(1), default=1, help="Tell which buckets fill no batch of this size."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
)
def prepare(folder: Any, output: Any, as_json: bool, **choices: Any) -> int:  # noqa: FBT001
    """Convert, turn, reduce and crop pictures into a new folder with a manifest; FOLDER is never touched."""
    from kohya_runner.dataset.prepare import prepare as preparing
    from kohya_runner.dataset.prepare.crops import write_crops
    from kohya_runner.dataset.prepare.version_findings import bucket_rests
    from kohya_runner.findings import finding_json
    from kohya_runner.show import console

    settings, source, target = _settings(choices), _absolute(folder), _absolute(output)
    show = console.scan_progress(quiet=as_json)
    progress = None if show is None else lambda done, total: show(f"preparing {source.name}", done, total)
    done = preparing.prepare(source, target, settings, progress=progress)
    sheets = write_crops(source, _absolute(choices["preview"]), settings) if choices["preview"] else ()
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

    from kohya_runner.dataset.prepare.shaping import PrepareSettings, settings_for
    from kohya_runner.errors import UsageError

    if choices["pixel_art"] and choices["photos"]:
        raise UsageError("--pixel-art does not go with --photos", hint="leave one of the two out")
    try:
        ImageColor.getrgb(choices["background"])
    except ValueError as fault:
        raise UsageError(f"--background {choices['background']}: no colour", hint="write white or #ff00ff") from fault
    style = "pixel_art" if choices["pixel_art"] else "photos"
    named = {name: choices[name] for name in ("background", "format", "crop", "keep_near")}
    return PrepareSettings(settings_for(choices["size"]), style, **named)  # type: ignore[arg-type]


def _absolute(path: Path) -> Path:
    import os

    return Path(os.path.abspath(path))
