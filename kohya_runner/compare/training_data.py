"""What the training says beyond the files: hashes, size, captions, pairs, trigger words, pictures, losses."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.diagnosis.events import Epoch, Step
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.engines.painting import Base
from kohya_runner.record import metrics_file
from kohya_runner.record.record import Record
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import read_json, read_text, status

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_NO_BRACES = str.maketrans("{}", "  ")
CAPTIONS = 2  # how many captions stand in for prompts that nobody gave


def hashes_of(run_dir: Path | None, record: Record | None) -> dict[str, str]:
    """The hashes on record of files that have not changed since it was written."""
    if run_dir is None or record is None:
        return {}
    known = {}
    written = RunPaths(run_dir).record.stat().st_mtime
    for checkpoint in record.checkpoints:
        there = status(run_dir / record.output_dir / checkpoint.file)
        if there and checkpoint.sha256 and there.st_size == checkpoint.bytes and there.st_mtime <= written:
            known[checkpoint.file] = checkpoint.sha256
    return known


def resolution_of(base: Base) -> str | None:
    """The training's size as WIDTHxHEIGHT, None where it says none."""
    if base.text("dataset_config"):
        return trained_size(base)
    parts = (base.text("resolution") or "").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        return None
    return f"{int(parts[0])}x{int(parts[-1])}"


def training_files(base: Base) -> tuple[Path, ...]:
    """The pictures the run was trained on, as they were laid out."""
    return _files(base, PICTURES) or tuple(pair.target for pair in trained_pairs(base))


def captions_of(base: Base) -> tuple[str, ...]:
    """The captions of the first and the middle training picture."""
    files = _files(base, frozenset({base.text("caption_extension") or ".caption"}))
    chosen = dict.fromkeys(files[len(files) * n // CAPTIONS] for n in range(CAPTIONS) if files)
    pairs = () if files else trained_pairs(base)
    asked = dict.fromkeys(pairs[len(pairs) * n // CAPTIONS].instruction for n in range(CAPTIONS) if pairs)
    return tuple(text for text in (*map(_line, chosen), *map(_plain, asked)) if text)


def _plain(text: str) -> str:
    """A caption without what the scripts would obey in it."""
    return " ".join(text.split()).replace("--", "-").translate(_NO_BRACES)


def _line(path: Path) -> str:
    """A caption's first line, as the trainer takes it."""
    lines = (read_text(path) or "").splitlines()
    return _plain(lines[0]) if lines else ""


def _files(base: Base, suffixes: frozenset[str]) -> tuple[Path, ...]:
    folder = base.text("train_data_dir")
    if folder is None or not os.path.isdir(folder):
        return ()
    return tuple(sorted(p for p in Path(folder).glob("*/*") if p.suffix.lower() in suffixes and p.is_file()))


def triggers_of(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The words the recipe's captions must hold one of, else the concepts."""
    datasets = [d for d in recipe.get("datasets") or () if isinstance(d, dict) and not d.get("regularization")]
    told = [(d.get("captions") or {}).get("contains_any") for d in datasets]
    wanted = [str(word) for words in told if isinstance(words, list) for word in words]
    concepts = [str(d["concept"]).replace("_", " ") for d in datasets if d.get("concept")]
    return tuple(dict.fromkeys(wanted or concepts))


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """What was asked for, the picture before, and the picture after."""

    instruction: str
    control: Path | None
    target: Path


def trained_pairs(base: Base) -> tuple[TrainedPair, ...]:
    """Every pair that is still there, in the order of the datasets; none where the run had no dataset file."""
    return tuple(pair for dataset in _datasets(base) for pair in _pairs(dataset) if pair.target.is_file())


def trained_size(base: Base) -> str | None:
    """The resolution of the first dataset as WIDTHxHEIGHT."""
    size = next((d["resolution"] for d in _datasets(base) if d.get("resolution")), None)
    sides = size if isinstance(size, list) else [size, size]
    return f"{sides[0]}x{sides[-1]}" if size else None


def _datasets(base: Base) -> list[dict[str, Any]]:
    """What ``general`` says is what a dataset does not say itself (src/musubi_tuner/dataset/config_utils.py)."""
    file = base.text("dataset_config")
    told = read_json(Path(file)) if file else {}
    return [{**told.get("general", {}), **dataset} for dataset in told.get("datasets", ())]


def _pairs(dataset: dict[str, Any]) -> Iterator[TrainedPair]:
    if "image_jsonl_file" in dataset:
        yield from _rows(Path(dataset["image_jsonl_file"]))
        return
    folder, controls = Path(dataset.get("image_directory", "")), Path(dataset.get("control_directory", ""))
    found = {path.stem: path for path in _pictures(controls)} if dataset.get("control_directory") else {}
    for target in _pictures(folder):
        caption = target.with_suffix(dataset.get("caption_extension") or ".txt")
        text = caption.read_text(encoding="utf-8", errors="replace") if caption.is_file() else ""
        yield TrainedPair(text, found.get(target.stem) or found.get(f"{target.stem}_0"), target)


def _rows(path: Path) -> Iterator[TrainedPair]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return
    for row in rows:
        control = row.get("control_path") or row.get("control_path_0")
        yield TrainedPair(str(row.get("caption", "")), Path(control) if control else None, Path(row["image_path"]))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)


MOST = 600  # points of the curve: more than a page's width shows
LARGEST_LOG = 256 << 20  # bytes; a longer log is not read into memory


@dataclass(frozen=True, slots=True)
class Losses:
    """``points`` are (step, loss); ``epochs`` are (epoch, its last step)."""

    points: tuple[tuple[int, float], ...]
    epochs: tuple[tuple[int, int], ...]


def losses_of(run_dir: Path, log: Path) -> Losses | None:
    """The loss over the steps, as the run measured it, else from the trainer's log; None where neither says one."""
    found = _measured(run_dir)
    found = found if found.points else _logged(log)
    return found if found.points else None


def _measured(run_dir: Path) -> Losses:
    points: dict[int, float] = {}
    epochs: dict[int, int] = {}
    for one in metrics_file.read(run_dir).steps:
        if one.loss is not None and math.isfinite(one.loss):
            points[one.step] = one.loss
        if one.epoch is not None:
            epochs[one.epoch] = max(one.step, epochs.get(one.epoch, 0))
    return _losses(points, epochs)


def _logged(log: Path) -> Losses:
    try:
        data = log.read_bytes() if log.stat().st_size <= LARGEST_LOG else b""
    except OSError:
        data = b""
    stream = Stream()
    points: dict[int, float] = {}
    epochs: dict[int, int] = {}
    epoch = step = 0
    for event in (*stream.feed(data), *stream.close()):
        if isinstance(event, Step):
            step = event.step
            points |= {step: event.loss} if event.loss is not None and math.isfinite(event.loss) else {}
        elif isinstance(event, Epoch):
            epochs |= {epoch: step} if epoch else {}
            epoch = event.number
    return _losses(points, epochs | ({epoch: step} if epoch else {}))


def _losses(points: dict[int, float], epochs: dict[int, int]) -> Losses:
    ordered = sorted(points.items())
    thinned = dict((*ordered[:: max(1, -(-len(ordered) // MOST))], *ordered[-1:]))  # with the last one in any case
    return Losses(tuple(thinned.items()), tuple(sorted(epochs.items())))
