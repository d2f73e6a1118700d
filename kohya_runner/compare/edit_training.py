"""The pairs a run was trained on, from the dataset file that its training was given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.engines.painting import Base

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


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
    try:
        told = json.loads(Path(file).read_bytes()) if file else {}
    except (OSError, ValueError):
        return []
    if not isinstance(told, dict):
        return []
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
