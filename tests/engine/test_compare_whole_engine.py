"""A real run of the quickstart recipe on a whole SD 1.5 with random weights, swept (--tier full).

About five minutes on an idle machine of two cores. The learning rate is low: random weights that are trained hard paint
NaN, which the scripts save as black.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
EPOCHS, RATE = 6, "1e-6"
PROMPTS = ("pixel art, 24x24, a red sprite", "a photo of a dog")
NEGATIVE, SEED, STEPS, SIDE = "blurry", 7, 2, 64


@dataclass(frozen=True, slots=True)
class Run:
    """A run and its comparison."""

    folder: Path
    told: dict[str, Any]
    argv: tuple[str, ...]
    python: Path
    checkout: Path

    def picture(self, column: int, prompt: int) -> Image.Image:
        cell = next(c for c in self.told["cells"] if (c["column"], c["prompt"]) == (column, prompt))
        return opened(self.folder / "comparison" / cell["file"])

    def given(self, name: str) -> str:
        return next(a for a in self.argv if a.startswith(f"--{name}="))

    def alone(self, column: int, prompt: int, out: Path) -> Image.Image:
        """The same picture by a process of its own, without anything of ours in it."""
        file = self.told["columns"][column]["file"]
        network = ("--network_module", "networks.lora", "--network_weights", file) if file else ()
        model = self.given("pretrained_model_name_or_path").partition("=")[2]
        command = (
            str(self.python), str(self.checkout / "gen_img.py"), "--v1", "--sdpa", f"--ckpt={model}", *network,
            self.given("tokenizer_cache_dir"), f"--outdir={out}", f"--W={SIDE}", f"--H={SIDE}", f"--steps={STEPS}",
            f"--prompt={PROMPTS[prompt]} --d {SEED} --n {NEGATIVE}",
        )  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=self.checkout, env=environ())
        (found,) = out.glob("*.png")
        return opened(found)


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("it's whole") / "work space"
    rates = [f"args.{name}={RATE}" for name in ("learning_rate", "unet_lr", "text_encoder_lr")]
    choices = [f"args.max_train_epochs={EPOCHS}", "datasets.0.repeats=1", *rates]
    places = (f"--workspace={root}", f"--sd-scripts={sd_scripts}")
    recipe = str(ROOT / "recipes" / "quickstart.yaml")
    runner = (sys.executable, "-m", "kohya_runner")
    launched = subprocess.run(
        (*runner, "launch", recipe, *places, *(f"--set={text}" for text in choices)),
        check=False, capture_output=True, text=True, env=environ() | {"KOHYA_RUNNER_PYTHON": str(trainer_python)},
    )  # fmt: skip
    assert launched.returncode == 0, launched.stdout + launched.stderr
    (folder,) = (root / "runs").glob("*/001")
    wishes = (*(f"--prompt={prompt}" for prompt in PROMPTS), f"--negative={NEGATIVE}", f"--seeds={SEED}")
    swept = subprocess.run(
        (*runner, "compare", str(folder), *places, *wishes, f"--steps={STEPS}", "--json"),
        check=False, capture_output=True, text=True, env=environ() | {"KOHYA_RUNNER_PYTHON": str(trainer_python)},
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    argv = tuple(json.loads((folder / "record.json").read_bytes())["argv"])
    yield Run(folder, json.loads(swept.stdout), argv, trainer_python, sd_scripts)
    for model in root.glob("models/*/*.safetensors"):
        model.unlink()  # 2 GB


def test_the_final_file_is_the_last_of_six_epochs_and_all_came_from_one_load(run):
    labels = [column["label"] for column in run.told["columns"]]
    assert labels == ["base", *(f"epoch {n}" for n in range(1, EPOCHS + 1))]
    assert Path(run.told["columns"][-1]["file"]).name == "quickstart.safetensors"
    log = (run.folder / "comparison" / "compare.log").read_text(encoding="utf-8", errors="replace")
    assert log.count("load StableDiffusion checkpoint") == 1


def test_no_picture_is_black_and_no_two_are_the_same(run):
    pictures = [run.picture(column, prompt) for column in range(EPOCHS + 1) for prompt in range(2)]
    assert all(len(picture.getcolors(SIDE * SIDE)) > 100 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.parametrize(("column", "prompt"), [(0, 1), (3, 0), (EPOCHS, 1)], ids=["base", "epoch 3", "the last"])
def test_a_picture_of_the_sweep_has_the_pixels_of_a_process_of_its_own(run, tmp_path, column, prompt):
    assert run.picture(column, prompt).tobytes() == run.alone(column, prompt, tmp_path / "alone").tobytes()


def test_the_loss_curve_knows_the_epochs(run):
    page = (run.folder / "comparison" / "report.html").read_text(encoding="utf-8")
    drawing = page.split('<svg id="loss"')[1].split("</svg>")[0]
    assert drawing.count("</title>") == EPOCHS
