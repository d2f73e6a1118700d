"""A stranger's recipe and the real script: refused, nothing happens; allowed, the same attack works."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import made_models
import pytest
from test_tiny_families_engine import FAMILIES, ROOT, SHRINK, draw

pytestmark = pytest.mark.daily

MODULE = """\
import os
import pathlib

pathlib.Path(__file__).with_name("canary").write_text("\\n".join(sorted(os.environ)))
from torch.optim import AdamW as Gift
"""
SECRETS = {"RUNPOD_API_KEY": "rpa_1", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "hf_thisIsNobodysToken"}


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@dataclass(frozen=True)
class Place:
    folder: Path
    models: Path
    environ: dict[str, str]

    @property
    def canary(self) -> Path:
        return self.folder / "canary"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "kohya_runner", *words, f"--workspace={self.folder / 'work space'}")
        return subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=500, check=False
        )

    def launch(self, recipe: str, *more: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "gift.yaml"
        path.write_text(f"extends: {ROOT / 'recipes' / 'sd15_lora.yaml'}\nname: gift\n{recipe}", encoding="utf-8")
        choices = FAMILIES[0].choices(self.models, self.folder / "pictures")
        named = ("model" if "model:" in recipe else "-", "args.optimizer_type" if "optimizer_type" in recipe else "-")
        kept = [one for one in choices if one.removeprefix("--set=").partition("=")[0] not in named]
        return self.run("launch", str(path), "--allow=hub.offline", "--set=args.max_train_epochs=1", *kept, *more)


@pytest.fixture
def place(odd_path: Path, sd_scripts: Path, trainer_python: Path) -> Place:
    models = odd_path / "models"
    models.mkdir()
    search = os.pathsep.join((str(SHRINK), str(ROOT), str(odd_path)))
    environ = {
        **os.environ, **SECRETS, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python), "XDG_CONFIG_HOME": str(odd_path / "config"),
    }  # fmt: skip
    made_models.put(trainer_python, sd_scripts, "sd15", models)
    draw(odd_path / "pictures")
    return Place(odd_path, models, environ)


def test_code_that_a_recipe_names_runs_with_consent_alone_and_sees_no_secret(place):
    (place.folder / "stranger.py").write_text(MODULE, encoding="utf-8")
    attack = "args: {optimizer_type: stranger.Gift}\n"
    refused = place.launch(attack)
    assert refused.returncode == 3, refused.stderr
    assert "--trust args.optimizer_type" in refused.stdout
    assert not place.canary.exists()
    allowed = place.launch(attack, "--trust=args.optimizer_type")
    assert allowed.returncode == 0, allowed.stderr
    seen = place.canary.read_text(encoding="utf-8").split("\n")
    assert "PATH" in seen
    assert not SECRETS.keys() & {*seen}


def test_a_pickle_is_loaded_with_consent_alone(place):
    (place.folder / "model.ckpt").write_bytes(pickle.dumps(Bomb(place.canary)))
    attack = "model: ./model.ckpt\n"
    refused = place.launch(attack, "--allow=model.format")
    assert refused.returncode != 0
    assert "model.pickle" in refused.stdout
    assert not place.canary.exists()
    place.launch(attack, "--allow=model.format", "--trust=model")
    assert place.canary.exists()


def test_a_pickle_under_another_name_is_one(place):
    """library/model_util.py:980 unpickles whatever is not called .safetensors."""
    (place.folder / "model.sft").write_bytes(pickle.dumps(Bomb(place.canary)))
    attack = "model: ./model.sft\n"
    assert "model.pickle" in place.launch(attack, "--allow=model.format").stdout
    assert not place.canary.exists()
    place.launch(attack, "--allow=model.format", "--trust=model")
    assert place.canary.exists()


def test_the_trainers_log_replaces_no_file_of_the_user_without_consent(place):
    mine = place.folder / "home" / ".bashrc"
    mine.parent.mkdir()
    mine.write_text("mine\n", encoding="utf-8")
    attack = f"args: {{console_log_file: {json.dumps(str(mine), ensure_ascii=False)}}}\n"
    refused = place.launch(attack)
    assert refused.returncode == 3, refused.stderr
    assert "--trust args.console_log_file" in refused.stdout
    assert mine.read_text(encoding="utf-8") == "mine\n"
    allowed = place.launch(attack, "--trust=args.console_log_file")
    assert allowed.returncode == 0, allowed.stderr
    assert mine.read_text(encoding="utf-8") != "mine\n"


def test_what_the_real_script_prints_of_a_strangers_names_cannot_drive_the_terminal(place):
    picture = next((place.folder / "pictures").glob("*.png"))
    for file in (picture, picture.with_suffix(".txt")):
        file.rename(file.with_name(f"\x1b]0;owned\x07\x1b[2J{file.suffix}"))
    done = place.launch("")
    assert done.returncode == 0, done.stdout + done.stderr
    logs = place.run("logs", "gift", "-n", "0")
    assert logs.returncode == 0
    for said in (done.stdout, done.stderr, logs.stdout):
        assert "\x1b" not in said
        assert "\x07" not in said
