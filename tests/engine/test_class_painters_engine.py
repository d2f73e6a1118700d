"""DreamBooth whose class images are painted by the family's own minimal inference script, in one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import made_models
import PIL.Image
import pytest
from test_tiny_methods_engine import CPU, HERE, METHODS, ROOT, SIZES, SMALL, places
from tiny_methods import draw, fill_hub_cache

from kohya_runner.engines.sd_scripts.painter import OTHERS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.full
DREAMBOOTH = {method.family: method for method in METHODS if method.method == "dreambooth" and method.family in OTHERS}
ASKED = ('datasets.1.class_prompt="a photo of a dog"', "datasets.1.num_class_images=4")


@pytest.mark.parametrize("family", OTHERS)
def test_the_missing_ones_are_painted_and_trained_with(
    family: str, tmp_path: Path, sd_scripts: Path, trainer_python: Path
) -> None:
    method = DREAMBOOTH[family]
    models, workspace = tmp_path / "tiny models", tmp_path / "work space"
    hub = workspace / "cache" / "huggingface" / "hub"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_CACHE": str(hub),
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, family, models, environ)
    fill_hub_cache(hub, models / "tokenizers")
    texts = [*CPU, *SMALL, *places(method, tmp_path, models), *method.overrides, *ASKED]
    shutil.rmtree(tmp_path / "any dogs")
    draw(tmp_path / "any dogs", SIZES[:1], captions=None, seed=2)
    command = (sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / f"{method.name}.yaml"),
               f"--workspace={workspace}", "--allow=hub.offline", *(f"--set={text}" for text in texts))  # fmt: skip
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    painted = sorted(workspace.glob("class_images/*/*.png"))
    assert [path.name for path in painted] == [f"class_{number:06d}.png" for number in range(3)]
    assert len({path.read_bytes() for path in painted}) == len(painted)
    for path in painted:
        with PIL.Image.open(path) as picture:
            assert picture.size == (64, 64)
            assert len(set(picture.convert("RGB").tobytes())) > 50
    record = json.loads((workspace / "runs" / method.name / "001" / "record.json").read_text("utf-8"))
    assert record["state"] == "succeeded"
    folders = {folder["name"]: folder for folder in record["dataset"]["folders"]}
    assert folders["1_dog"]["images"] == 4
    again = subprocess.run((*command, "--once"), check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "painting" not in again.stdout + again.stderr
    shutil.rmtree(tmp_path)
