"""One launch of the unmodified trainer that trains, compares, picks and publishes to a Hub of its own (--tier full).

The quickstart recipe on small random weights, about a minute on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_hub import TOKEN, LocalHub
from real_runs import read_lora
from test_tiny_families_engine import HERE, ROOT, SHRINK

from kohya_runner.artefact.safetensors_header import read_header

pytestmark = pytest.mark.full

RECIPE = """\
extends: {quickstart}
name: sprites
model: "{model}"
datasets: [{{images: "{images}", concept: sprite, repeats: 2, expect: 12, captions: {{extension: .txt}}}}]
args: {{tokenizer_cache_dir: "{tokenizers}"}}
compare: {{prompts: ["a red sprite", "a dog"], size: 64x64, steps: 2, seeds: [1, 2, 3, 4], trigger: [sprite]}}
finish:
  compare: true
  publish: {{repo: me/sprites, clean: true, title: Sprites, license: mit}}
"""


def run(words: tuple[str, ...], environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "kohya_runner", *words)
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=folder)


def test_one_launch_trains_compares_picks_and_publishes(
    hub: LocalHub, tmp_path: Path, sd_scripts: Path, trainer_python: Path
):
    models, folder = tmp_path / "tiny models", tmp_path / "work space" / "runs" / "sprites" / "001"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "NO_COLOR": "1",
        "KOHYA_WORKSPACE": str(tmp_path / "work space"),
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    environ.pop("HF_HUB_OFFLINE", None)
    models.mkdir()
    writer = (str(trainer_python), str(HERE / "tiny_models.py"), str(sd_scripts), "sd15", str(models))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    quickstart = ROOT / "recipes" / "quickstart.yaml"
    recipe = tmp_path / "sprites.yaml"
    recipe.write_text(
        RECIPE.format(
            quickstart=quickstart, model=models / "model.safetensors", images=ROOT / "recipes" / "sprites",
            tokenizers=models / "tokenizers",
        )
    )  # fmt: skip
    plain = run(("launch", str(recipe)), environ, tmp_path)
    assert plain.returncode == 3
    assert "publish the picked epoch with a model card to me/sprites on the Hub, private" in plain.stdout
    assert "--trust finish.publish" in plain.stdout

    trust = ("--trust", "finish.publish", "--trust", "args.tokenizer_cache_dir")
    done = run(("launch", str(recipe), *trust), environ, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((folder / "record.json").read_bytes())
    said = {entry["action"]: entry["said"] for entry in record["after"]}
    assert said["publish"].startswith("publish: sprites.safetensors published to me/sprites (private)"), said

    picked = json.loads((folder / "comparison" / "picked.json").read_bytes())
    files = hub.repos["me/sprites"].files
    assert hub.repos["me/sprites"].private
    assert set(files) >= {"sprites.safetensors", "README.md", "samples/grid.png"}
    sent = tmp_path / "sent.safetensors"
    sent.write_bytes(files["sprites.safetensors"])
    source = Path(picked["file"])
    assert read_lora(sent).finite
    assert read_header(sent).tensors == read_header(source).tensors
    assert _tensors(sent) == _tensors(source)
    metadata = read_header(sent).metadata
    assert metadata["modelspec.title"] == "Sprites"
    assert metadata["modelspec.trigger_phrase"] == "sprite"
    assert "ss_tag_frequency" in read_header(source).metadata
    assert "ss_tag_frequency" not in metadata
    everything = b"".join(files.values())
    assert os.fsencode(tmp_path) not in everything
    assert b"palette:" not in everything
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path

    hub.asked.clear()
    again = run(("publish", "sprites", "--repo", "me/sprites", "--clean", "--title", "Sprites", "--license", "mit"),
                environ, tmp_path)  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert hub.uploads() == []


def _tensors(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]
