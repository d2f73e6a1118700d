"""Edit datasets for plans: noise pictures, their metadata file, and the override that names it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from PIL import Image

from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from pathlib import Path


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def dataset(folder: Path, count: int = 3, size: tuple[int, int] = (64, 64)) -> Path:
    lines = []
    for number in range(count):
        for kind in ("inputs", "outputs"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            dice = random.Random(f"{kind} {number}")
            picture = Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1]))
            picture.save(folder / kind / f"{number:03d}.png")
        names = {"input_image": f"inputs/{number:03d}.png", "output_image": f"outputs/{number:03d}.png"}
        lines.append(json.dumps(names | {"instruction": f"make it number {number}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "metadata.jsonl"


def edits(metadata: Path) -> str:
    return f"datasets={json.dumps([{'images': str(metadata), 'concept': 'pairs'}])}"
