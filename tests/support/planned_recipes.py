"""Datasets and plans for the tests of the pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request

ROOT = Path(__file__).parents[2]
CAPTION = (
    "pixel art, 24x24, portrait of bespoke punk lad, brown hair (#a0b1a6), palette: #a0b1a6, retro pixel art style\n"
)


@pytest.fixture
def pictures(odd_path: Path):
    """Makes a folder of single-colour pictures with captions and returns it."""

    def make(count: int, size: tuple[int, int] = (24, 24), *, name: str = "pictures", caption: str = CAPTION) -> Path:
        folder = odd_path / name
        folder.mkdir(exist_ok=True)
        for index in range(count):
            Image.new("RGB", size, (index % 256, index // 256, 7)).save(folder / f"lad_{index:03d}.png")
            (folder / f"lad_{index:03d}.txt").write_text(caption, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def edit_pairs(odd_path: Path):
    """Makes an edit dataset and returns its metadata file."""

    def make(count: int, size: tuple[int, int] = (64, 64), *, name: str = "my edits") -> Path:
        folder, rows = odd_path / name, []
        folder.mkdir(exist_ok=True)
        for index in range(count):
            for kind, blue in (("before", 7), ("after", 200)):
                Image.new("RGB", size, (index % 256, index // 256, blue)).save(folder / f"{kind} {index:03d}.png")
            rows.append({"input_image": f"before {index:03d}.png", "output_image": f"after {index:03d}.png",
                         "instruction": f"make it number {index}"})  # fmt: skip
        metadata = folder / "metadata.jsonl"
        metadata.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return metadata

    return make


@pytest.fixture
def planned(odd_path: Path):
    """Plans a recipe for another machine, in a home and a workspace of its own."""

    def plan(recipe: str | Path, *overrides: str, **choices: object) -> Plan:
        request = Request(
            ROOT / "recipes" / recipe, overrides, **{"workspace": str(odd_path / "ws"), "elsewhere": True, **choices}
        )
        return make_plan(
            request, environ={"HOME": str(odd_path / "home"), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
        )

    return plan
