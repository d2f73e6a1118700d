"""Figures that need a CLIP model: only where a folder with one is named, measured in the trainer's own Python.

They are kept beside the pictures, each under a hash of all it depends on, so that only what is missing is measured.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import safe_files
from kohya_runner.compare.cells import identity
from kohya_runner.compare.metrics import Likeness
from kohya_runner.engines.arguments import Command
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.run.supervise import Watch, supervise

if TYPE_CHECKING:
    from kohya_runner.compare.comparison import Shown
    from kohya_runner.compare.painting import PaintingPlace


Say = Callable[..., None]


WORKER = Path(__file__).with_name("clip_worker.py")
WEIGHTS = (".safetensors", ".bin")
MOST_TRAINING = 500  # pictures: their mean says no more with all of thousands
HINT = (
    "CLIP figures (picture to prompt, picture to training pictures): name a folder with a CLIP model of transformers, "
    "such as a download of openai/clip-vit-base-patch32, with --clip DIR or compare.clip"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The folder with the model, the pictures, and what they are held against."""

    folder: Path
    shown: Sequence[Shown]
    prompts: Sequence[str]
    training: Sequence[Path]


def fault_of(folder: Path) -> str:
    """Why a folder holds no CLIP model, "" where it may."""
    if not folder.is_dir():
        return f"{folder}: no such folder (it must contain a CLIP model)"
    if not (folder / "config.json").is_file() or not _weights(folder):
        return f"{folder}: contains no transformers model (config.json and weights)"
    return ""


def likenesses(asked: Asked, place: PaintingPlace, say: Say) -> tuple[Mapping[Path, Likeness], tuple[str, ...]]:
    """By the pictures' places, and what a person should know; what is not known yet is measured.

    A model that cannot be used costs a note, not the comparison.
    """
    folder, shown, prompts = asked.folder, asked.shown, asked.prompts
    training = asked.training[:: max(1, -(-len(asked.training) // MOST_TRAINING))]
    state = _digest(*(f"{path.name}:{identity(path)}" for path in (*_weights(folder), *training)))
    wanted = {one.path: (_digest(one.key, prompts[one.prompt], state), prompts[one.prompt])
              for one in shown if one.path is not None}  # fmt: skip
    known = safe_files.read_json(place.paths.clip)
    missing = {key: (path, text) for path, (key, text) in wanted.items() if key not in known}
    notes: tuple[str, ...] = ()
    if missing:
        say(f"measuring {len(missing)} pictures with CLIP", lasting=False)
        answers, why = _measured(folder, missing, training, place)
        notes = (f"CLIP could not measure the pictures: {why}",) if why else ()
        known |= answers
        kept = {key: known[key] for key, _ in wanted.values() if key in known}
        safe_files.write_json(place.paths.clip, kept)
    return {path: Likeness(*known[key]) for path, (key, _) in wanted.items() if key in known}, notes


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in WEIGHTS and path.is_file())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _measured(
    folder: Path, missing: Mapping[str, tuple[Path, str]], training: Sequence[Path], place: PaintingPlace
) -> tuple[dict[str, list[float]], str]:
    """The answers of one process, and why there are none."""
    with tempfile.TemporaryDirectory(dir=place.output, prefix=f".clip-{os.getpid()}-") as name:
        scratch = Path(name)
        jobs, result = scratch / "jobs.json", scratch / "result.json"
        pictures = [{"key": key, "path": str(path), "text": text} for key, (path, text) in missing.items()]
        safe_files.write_json(jobs, {"clip": str(folder), "pictures": pictures, "training": list(map(str, training)),
                                 "result": str(result)})  # fmt: skip
        command = Command((str(place.python), str(WORKER), str(jobs)), place.checkout, place.env)
        outcome = supervise(command, Watch(log=place.paths.log, output_dir=scratch), environ=place.environ)
        outcome.raise_stop()
        if outcome.returncode == 0 and result.is_file():
            return safe_files.read_json(result), ""
    last = last_lines(place.paths.log, 1)
    return {}, last[-1][:200] if last else f"its process ended with code {outcome.returncode}"
