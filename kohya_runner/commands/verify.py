"""``kohya-runner verify``: what a LoRA is, and whether it can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kohya_runner.artefact import verify as look
from kohya_runner.artefact.verify import Verified
from kohya_runner.errors import NoCheckpointError
from kohya_runner.publish.comfyui import how_to, verdict
from kohya_runner.show import console
from kohya_runner.text import plain, size

SHOWN = 5  # keys that are told


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES...")
@click.option("--for", "purpose", type=click.Choice(["comfyui"]), help="Whether ComfyUI loads every key of them, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
def verify(files: tuple[Path, ...], purpose: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Open LoRA files, ours or not: what they are, how they were trained, what is wrong with them."""
    found = look.verify(files, (lambda _: None) if as_json else _show, comfyui=purpose is not None)
    ok = all(file.ok for file in found)
    if as_json:
        console.json_object({"version": 1, "ok": ok, "files": [file.as_json() | _comfyui(file) for file in found]})
    return 0 if ok else NoCheckpointError.exit_code


def _show(file: Verified) -> None:

    console.say(plain(str(file.path)), bold=True)
    for label, text in _lines(file):
        console.say(f"  {label:<11}{plain(text)}")
    for problem in file.problems:
        console.say(f"  WRONG      {plain(f'{file.path.name} {problem}')}", fg="red", bold=True)
    for line in _comfyui_lines(file):
        console.say(f"  {line}")
    if file.ok and (file.comfyui is None or file.comfyui.family):
        console.say("  nothing is wrong with it", fg="green")


def _comfyui(file: Verified) -> dict[str, Any]:
    """What ``--for comfyui --json`` tells: ``convert`` is the command for it."""
    if file.comfyui is None:
        return {}
    names = file.comfyui
    return {
        "comfyui": {
            "verdict": verdict(names), "family": names.family or None, "keys": names.keys,
            "skipped": list(names.skipped), "convert": how_to(file.path, names) or None,
        }
    }  # fmt: skip


def _comfyui_lines(file: Verified) -> Iterator[str]:

    if file.comfyui is None:
        return
    yield f"{'ComfyUI':<11}{verdict(file.comfyui)}{f', for {file.comfyui.family}' if file.comfyui.family else ''}"
    yield from (f"{'skipped':<11}{plain(key)}" for key in file.comfyui.skipped[:SHOWN])
    if (more := len(file.comfyui.skipped) - SHOWN) > 0:
        yield f"{'skipped':<11}and {more} more (--json lists them all)"
    if convert := how_to(file.path, file.comfyui):
        yield f"{'to do':<11}{convert}"


def _lines(file: Verified) -> Iterator[tuple[str, str]]:
    if file.what:
        yield "what", f"{file.what}{f' for {file.family}' if file.family else ''}"
    if file.bytes:
        yield "size", size(file.bytes)
    if file.modules:
        rank = f", rank {', '.join(map(str, file.ranks[:5]))}" if file.ranks else ""
        yield "weights", f"{file.modules} modules{rank}, {file.dtype}"
    if file.sha256:
        yield "sha256", file.sha256
    if file.training:
        yield "training", "; ".join(f"{name} {text}" for name, text in file.training.items())
    yield from (("note", note) for note in file.notes)
