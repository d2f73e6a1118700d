"""DreamBooth whose class images are missing: painted by the real gen_img.py, then trained with, on a shrunk SD 1.5."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import PIL.Image
import pytest
from test_tiny_methods_engine import ADAMW, CPU, HERE, ROOT, SIZES, SMALL
from tiny_methods import draw

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.full
ASKED = ('datasets.1.class_prompt="a photo of a dog"', "datasets.1.num_class_images=4")


@dataclass(frozen=True)
class Place:
    """The pictures, the model and the workspace of one recipe."""

    root: Path
    environ: Mapping[str, str]

    @property
    def workspace(self) -> Path:
        return self.root / "work space"

    def launch(self, *more: str) -> subprocess.CompletedProcess[str]:
        models = self.root / "tiny models"
        texts = (
            *CPU, *SMALL, *ADAMW, f"datasets.0.images={self.root / 'my pictures'}",
            f"datasets.1.images={self.root / 'some dogs'}", f"model={models / 'model.safetensors'}",
            f"args.tokenizer_cache_dir={models / 'tokenizers'}", *ASKED,
        )  # fmt: skip
        command = (sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / "sd15_dreambooth.yaml"),
                   f"--workspace={self.workspace}", *(f"--set={text}" for text in texts), *more)  # fmt: skip
        environ = dict(self.environ)
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=self.root)

    def painted(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.workspace.glob("class_images/*/*.png")}

    def record(self, run: str) -> Any:
        return json.loads((self.workspace / "runs" / "sd15_dreambooth" / run / "record.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> tuple[Place, str]:
    root = tmp_path_factory.mktemp("it's class images")
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    place = Place(root, environ)
    (root / "tiny models").mkdir()
    made_models.put(trainer_python, sd_scripts, "sd15", root / "tiny models")
    draw(root / "my pictures", SIZES, captions=None)
    draw(root / "some dogs", SIZES[:1], captions=None, seed=2)
    ended = place.launch()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place, ended.stdout + ended.stderr


def test_the_missing_ones_alone_were_painted_at_the_training_size(done):
    place, said = done
    assert "painting 3 class images of 'a photo of a dog'" in said
    assert sorted(place.painted()) == [f"class_{number:06d}.png" for number in range(3)]
    for path in place.workspace.glob("class_images/*/*.png"):
        with PIL.Image.open(path) as picture:
            assert picture.size == (64, 64)


def test_the_folder_that_was_named_is_as_it_was(done):
    place, _ = done
    assert [path.name for path in (place.root / "some dogs").iterdir()] == ["a picture 0.png"]


def test_the_training_counted_all_of_them_and_succeeded(done):
    place, _ = done
    record = place.record("001")
    assert record["state"] == "succeeded"
    log = (place.workspace / "runs" / "sd15_dreambooth" / "001" / "trainer.log").read_text("utf-8")
    assert "num reg images" in log
    folders = {folder["name"]: folder for folder in record["dataset"]["folders"]}
    assert (folders["1_dog"]["images"], folders["1_dog"]["captions"]) == (4, 3)


def test_the_same_launch_once_more_paints_nothing_and_is_the_same_run(done):
    place, _ = done
    before = place.painted()
    ended = place.launch("--once")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "painting" not in ended.stdout + ended.stderr
    assert "nothing to do" in ended.stdout + ended.stderr
    assert place.painted() == before
