"""A plan as a shell script that needs no kohya-runner: its folders, its files and its commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from kohya_runner.dataset.layout import Layout
from kohya_runner.engines.arguments import CONFIG, STANDALONE, Command
from kohya_runner.plan.value import Plan
from kohya_runner.text import plain

KEPT = ("PYTHONPATH", "HF_HUB_OFFLINE", *STANDALONE)
"""Variables that a command cannot do without; the others only say where caches lie."""


def shell_script(made: Plan) -> str:
    """The script. Pictures are linked, so that the trainer's caches do not get into their folders."""
    return "\n".join(_lines(made)) + "\n"


def _lines(made: Plan) -> Iterator[str]:
    layout, name = made.layout, made.loaded.word("name")
    yield "#!/usr/bin/env bash"
    said = f"{name}: the plain commands of {made.loaded.path.name}. Change DATA and OUT as you like."
    yield f"# {plain(said)}"
    yield "set -euo pipefail"
    yield f"DATA={shlex.quote(f'./{name}_data')}; OUT={shlex.quote(f'./{name}_output')}"
    yield 'mkdir -p "$DATA" "$OUT"; DATA=$(cd "$DATA" && pwd); OUT=$(cd "$OUT" && pwd)'
    places = {str(made.run_dir): "$OUT"} if made.run_dir else {}
    if layout is not None:
        places[str(layout.tree)] = "$DATA"
        yield from _folders(layout)
        texts = {layout.metadata_file: layout.metadata, layout.config_file: layout.config}
        for path, text in texts.items():
            if path is not None:
                yield from _written(str(path), text, places)
    for file in made.files:
        places.setdefault(str(file.path.parent), "$DATA")
        yield from _written(str(file.path), file.text, places)
    if made.command and f"--config_file={CONFIG}" in made.command.argv:
        places[str(CONFIG)] = "$OUT/accelerate.yaml"
        yield from _written(str(CONFIG), CONFIG.read_text(encoding="utf-8"), places)
    yield from (f"# fetch first: {plain(f'{fetch.file} to {fetch.target}')}" for fetch in made.fetches)
    for command in (*(stage.command for stage in made.stages), *((made.command,) if made.command else ())):
        yield from _command(command, places)


def _folders(layout: Layout) -> Iterator[str]:
    exact = bool(layout.metadata or layout.conditions or layout.edits)
    for folder in (*layout.folders, *layout.conditions):
        place = f'"$DATA"/{shlex.quote(os.path.relpath(layout.folder_path(folder), layout.tree))}'
        yield f"mkdir -p {place}"
        if exact or any(entry.written for entry in folder.entries):
            for entry in folder.entries:
                yield f"ln -sf {shlex.quote(str(entry.image.path))} {place}/{shlex.quote(entry.name)}"
                if entry.caption and entry.image.caption is not None:
                    caption = f"{place}/{shlex.quote(entry.caption)}"
                    yield f"printf '%s\\n' {shlex.quote(entry.image.caption.text)} > {caption}"
        else:
            for parent in sorted({entry.image.path.parent for entry in folder.entries}):
                yield f"ln -sf {shlex.quote(str(parent))}/* {place}/"


def _written(path: str, text: str, places: dict[str, str]) -> Iterator[str]:
    yield f"printf '%s' {_quoted(text, places)} > {_quoted(path, places)}"


def _quoted(text: str, places: dict[str, str]) -> str:
    """The text for a shell, with the folders as variables."""
    for old, variable in places.items():
        if old in text:
            parts = [_quoted(part, places) if part else "" for part in text.split(old)]
            return f'"{variable}"'.join(parts)
    return shlex.quote(text)


def _command(command: Command, places: dict[str, str]) -> Iterator[str]:
    yield f"cd {shlex.quote(str(command.cwd))}"
    yield from (f"export {key}={shlex.quote(command.env[key])}" for key in KEPT if key in command.env)
    yield " \\\n  ".join(_quoted(token, places) for token in command.argv)
