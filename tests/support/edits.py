"""Edit datasets for tests: real pictures and the file that pairs them."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from PIL import Image

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.survey import read_source

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.dataset.survey import Survey

Size = tuple[int, int]


def noise(path: Path, size: Size = (64, 64), *, seed: int = 0) -> Path:
    """A picture of which no pixel is like another's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", size, random.Random(f"{path.name} {seed}").randbytes(3 * size[0] * size[1])).save(path)
    return path


def row(number: int, **changed: Any) -> dict[str, Any]:
    """One row; a key set to None is left out."""
    plain = {
        "input_image": f"inputs/{number:03d}.png",
        "instruction": f"make it number {number}",
        "output_image": f"outputs/{number:03d}.png",
    }
    return {key: value for key, value in (plain | changed).items() if value is not None}


def edit_dataset(folder: Path, count: int = 3, *rows: dict[str, Any], size: Size = (64, 64)) -> Path:
    """``count`` pairs of pictures, and metadata.jsonl with a row for each, or with these rows."""
    for number in range(1, count + 1):
        noise(folder / "inputs" / f"{number:03d}.png", size, seed=1)
        noise(folder / "outputs" / f"{number:03d}.png", size, seed=2)
    return write(folder, *(rows or tuple(row(number) for number in range(1, count + 1))))


def write(folder: Path, *rows: Any) -> Path:
    """metadata.jsonl of these rows; a text is a line as it is."""
    lines = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in rows]
    path = folder / "metadata.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def looked(metadata: Path, **more: Any) -> Survey:
    """The dataset as it is read."""
    return read_source(Source(metadata, **{"concept": "pairs", "where": "recipe.yaml:3:5", **more}))
