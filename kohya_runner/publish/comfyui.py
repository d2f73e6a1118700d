"""A LoRA as ComfyUI reads it: the file itself, or what the trainer's own converter makes of it, proved key by key."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from kohya_runner.artefact.comfyui import ComfyNames, comfy_names
from kohya_runner.artefact.lora import inspect
from kohya_runner.artefact.verify import verified
from kohya_runner.compare.sweep import trainer_of
from kohya_runner.engines import table
from kohya_runner.errors import NoCheckpointError, TrainerError, UsageError
from kohya_runner.text import child_environment

MARK = "_comfyui"
AS_IT_IS, CONVERT, CANNOT, NOT_KNOWN = "as it is", "must be converted", "cannot be used", "not known"
LAST = 300  # characters of a converter's last line that are told


def verdict(names: ComfyNames) -> str:
    """What becomes of a file in ComfyUI, in words; ``CANNOT``: it skips keys, and no trainer has a converter."""
    if not names.family:
        return NOT_KNOWN
    return (CONVERT if names.family in table.CONVERTERS else CANNOT) if names.skipped else AS_IT_IS


def how_to(path: Path, names: ComfyNames) -> str:
    """The command that converts a file, "" where none is needed or none can."""
    shown = shlex.quote(str(path))
    return f"kohya-runner publish {shown} --comfyui --output FOLDER" if verdict(names) == CONVERT else ""


def for_comfyui(
    source: Path, target: Path, family: str, environ: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """The file to give to ComfyUI: ``source`` where it is read as it is, else ``target``, which is made of it.

    Raises:
        UsageError: nothing is known of how ComfyUI names this file's modules.
        NoCheckpointError: ComfyUI would skip keys of it, and no converter of a trainer changes that.
        TrainerError: there is no trainer to convert with, or its converter failed.
    """
    names = comfy_names(source, family)
    known = verdict(names)
    if known == NOT_KNOWN:
        hint = "only LoRAs are compared with ComfyUI's names, and only of families in docs/publish.md"
        raise UsageError(f"{source.name}: not known whether ComfyUI reads it", hint=hint)
    if known == CANNOT:
        raise NoCheckpointError(f"{source.name} {_told(names)}, and no trainer here has a converter for it")
    engine, converter = table.CONVERTERS.get(names.family, (None, None))
    older = converter and converter.older and any(key.startswith(converter.older) for key in inspect(source).names)
    if engine is None or converter is None or (known == AS_IT_IS and not older):
        return source
    trainer = trainer_of(engine.name, converter.script, environ)
    root = trainer.checkout.root
    target.parent.mkdir(parents=True, exist_ok=True)
    words = (word.format(source=source, target=target) for word in converter.arguments)
    paths = (*engine.env(root).values(), str(root), environ.get("PYTHONPATH"))
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONIOENCODING": "utf-8"}
    child = child_environment(environ) | own
    say(f"converting {source.name} with {converter.script}")
    command = (str(trainer.python.path), str(root / converter.script), *words)
    ended = subprocess.run(command, cwd=root, env=child, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2][-LAST:]
        raise TrainerError(f"{converter.script} ended with code {ended.returncode}: {last}", hint=shlex.join(command))
    left, made = comfy_names(target, names.family), verified(target)
    if left.skipped or made.problems or made.modules != verified(source).modules:
        why = _told(left) if left.skipped else (*made.problems, "has lost modules")[0]
        target.unlink()
        raise NoCheckpointError(f"{source.name}: what {converter.script} made of it {why}")
    return target


def _told(names: ComfyNames) -> str:
    return f"{names.problem} ({', '.join(names.skipped[:3])}{', ...' if len(names.skipped) > 3 else ''})"
