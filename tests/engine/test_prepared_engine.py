"""From raw pictures to a compared LoRA in one launch: a zip of sprites, a vision model and a tagger (--tier full)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import PIL.Image
import pytest
from chat_server import chat_server, said
from sprites import RESAMPLING, as_jpeg, sprite
from test_tiny_families_engine import CPU, HERE, ROOT, SHRINK

pytestmark = pytest.mark.full

NAMES = ("cat_red", "cat_blue", "dog_red", "dog_blue")


@dataclass(frozen=True, slots=True)
class Launched:
    """A launch that has ended with 0: the captions that were trained on, the record and the comparison."""

    texts: dict[str, str]
    record: dict
    compared: dict
    run: Path


@pytest.fixture(scope="module")
def models(tmp_path_factory, sd_scripts, trainer_python) -> Path:
    folder = tmp_path_factory.mktemp("tiny models")
    writer = (trainer_python, HERE / "tiny_models.py", sd_scripts, "sd15", folder)
    subprocess.run(writer, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": f"{SHRINK}:{ROOT}"})
    return folder


def launched(room: Path, models: Path, sd_scripts: Path, python: Path, entry: str, *words: str) -> Launched:
    """The quickstart's options on a small base model, for these pictures."""
    quickstart = ROOT / "recipes" / "quickstart.yaml"
    (room / "mine.yaml").write_text(
        f"extends: {quickstart}\nname: mine\nmodel: {models / 'model.safetensors'}\n"
        f"datasets:\n  - concept: sprite\n    repeats: 1\n{entry}"
        "finish: {compare: true}\ncompare: {prompts: [pixel art], steps: 2, size: 64x64, seeds: [7]}\n",
        encoding="utf-8",
    )
    env = os.environ | {
        "PYTHONPATH": f"{SHRINK}:{ROOT}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(room),
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(python),
    }  # fmt: skip
    sets = (*CPU, f"args.tokenizer_cache_dir={models / 'tokenizers'}")
    argv = (sys.executable, "-m", "kohya_runner", "launch", "mine.yaml", f"--workspace={room / 'ws'}", *words)
    ended = subprocess.run(
        (*argv, "--allow=hub.offline", *(f"--set={one}" for one in sets)),
        cwd=room, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    version, run = room / "ws" / "prepared" / "mine" / "001", room / "ws" / "runs" / "mine" / "001"
    return Launched(
        {path.stem: path.read_text(encoding="utf-8").strip() for path in version.glob("*.txt")},
        json.loads((run / "record.json").read_bytes()), json.loads((run / "comparison" / "compare.json").read_bytes()),
        run,
    )  # fmt: skip


def drawn(folder: Path) -> Path:
    """Each another picture: what has the same bytes may be asked for once."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        colour = (250, number, 0) if "red" in name else (0, number, 250)
        PIL.Image.new("RGB", (96, 64), colour).save(folder / f"{name}.png")
    return folder


def is_whole(done: Launched) -> bool:
    files = [found["file"] for found in done.record["checkpoints"] if found["complete"]]
    labels = [column["label"] for column in done.compared["columns"]]
    cells = [done.run / "comparison" / cell["file"] for cell in done.compared["cells"]]
    return (
        (done.record["state"], files) == ("succeeded", ["mine-000001.safetensors", "mine.safetensors"])
        and labels == ["base", "epoch 1", "epoch 2"]
        and len(cells) == 3
        and all(cell.is_file() for cell in cells)
    )


def test_a_zip_of_raw_sprites_becomes_a_compared_lora_in_one_launch(odd_path, models, sd_scripts, trainer_python):
    with ZipFile(odd_path / "sprites.zip", "w") as archive:
        for number, name in enumerate(NAMES):
            large = as_jpeg(sprite(16, 16, number).resize((160, 160), RESAMPLING.BILINEAR), 90)
            large.save(odd_path / "one.webp", lossless=True)
            archive.write(odd_path / "one.webp", f"raw/{name}.webp")
    entry = """    images: sprites.zip
    prepare: {style: pixel_art}
    caption: {template: "pixel art, {{ words }}, palette: {{ palette(3) }}"}
"""
    before = (odd_path / "sprites.zip").read_bytes()
    done = launched(odd_path, models, sd_scripts, trainer_python, entry)
    assert is_whole(done)
    assert done.texts.keys() == {*NAMES}
    assert all(text.startswith(f"pixel art, {name.replace('_', ' ')}, palette: #") for name, text in done.texts.items())
    version = json.loads((odd_path / "ws" / "prepared" / "mine" / "001" / "manifest.json").read_bytes())
    assert [one["what"][:2] for one in version["pictures"]] == [["grid 16x16", "4 times as large"]] * 4
    assert (odd_path / "sprites.zip").read_bytes() == before


def test_pictures_that_a_vision_model_captions_become_a_compared_lora_in_one_launch(
    odd_path, models, sd_scripts, trainer_python
):
    folder = drawn(odd_path / "training-data")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with chat_server((429, "", {"Retry-After": "0"}), said("a red\nthing")) as server:
        entry = f"    images: training-data\n    caption: {{endpoint: {server.url}, model: m, trigger: sks}}\n"
        trust = "--trust=datasets.caption"
        done = launched(odd_path, models, sd_scripts, trainer_python, entry, trust)
    assert is_whole(done)
    assert done.texts == dict.fromkeys(NAMES, "sks, a red thing")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(server.requests) == 5


def test_pictures_that_a_tagger_captions_become_a_compared_lora_in_one_launch(
    odd_path, models, sd_scripts, trainer_python
):
    drawn(odd_path / "cats")
    tiny = (trainer_python, HERE / "tiny_taggers.py", "git", odd_path / "tiny")
    subprocess.run(tiny, check=True, capture_output=True)
    entry = "    images: cats\n    caption: {tagger: git, model: tiny, trigger: sks}\n"
    done = launched(odd_path, models, sd_scripts, trainer_python, entry, "--trust=datasets.caption")
    assert is_whole(done)
    assert done.texts.keys() == {*NAMES}
    assert all(text.startswith("sks, ") for text in done.texts.values())
