"""The epoch sweep by the unmodified scripts, on shrunk models: one load, and the same pixels as separate processes.

Every day SD 1.5 alone; --tier full adds every other family, and takes about ten minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from compare_families import ALL, PROMPTS, Picture, Swept
from PIL import Image

from kohya_runner.compare.sweep import painter_of
from kohya_runner.engines.painting import Base

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHILD = HERE / "compare_child.py"
EPOCHS = 3
FAMILIES = ALL if tiers.full() else ALL[:1]


@dataclass(frozen=True, slots=True)
class Done:
    """A sweep that ended well, and what is needed to paint one of its pictures alone."""

    of: Swept
    models: Path
    loras: tuple[Path, ...]
    told: dict[str, Any]
    log: str
    folder: Path
    checkout: Path
    python: Path
    environ: dict[str, str]

    def picture(self, column: int, prompt: int) -> bytes:
        cell = next(c for c in self.told["cells"] if (c["column"], c["prompt"]) == (column, prompt))
        return pixels(self.folder / cell["file"])

    def alone(self, lora: Path | None, prompt: int, out: Path) -> bytes:
        """The same picture by a process of its own, without anything of ours in it."""
        file = painter_of(Base(self.of.family, "")).readable(lora, out.parent) if lora else None
        arguments = self.of.alone(Picture(self.models, file, PROMPTS[prompt], out))
        head = (str(CHILD), "plain", str(self.models / "tokenizers"), str(self.checkout / self.of.script))
        ended = subprocess.run(
            (str(self.python), *head, *arguments), check=False, capture_output=True, text=True, env=self.environ,
            cwd=self.checkout,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        (picture,) = out.glob("*.png")
        return pixels(picture)


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def swept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path
) -> Iterator[Done]:
    of: Swept = request.param
    root = tmp_path_factory.mktemp(f"it's {of.name}")
    models, loras = root / "tiny models", root / "my 'loras'"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(root / "work space" / "cache" / "huggingface" / "hub"),
        "OMP_NUM_THREADS": "1",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python),
        "KOHYA_WORKSPACE": str(root / "work space"),
    }
    made_models.put(trainer_python, sd_scripts, of.family, models, environ)
    with_clip = tiers.full() and of.name == "sd15"
    clip = root / "tiny clip"
    for command in (
        (str(CHILD), "loras", str(sd_scripts), of.name, str(models), str(loras), str(EPOCHS)),
        *(((str(HERE / "clip_child.py"), "model", str(clip)),) if with_clip else ()),
    ):
        made = subprocess.run((str(trainer_python), *command), check=False, capture_output=True, text=True, env=environ)
        assert made.returncode == 0, made.stderr
    ended = subprocess.run(
        (sys.executable, "-m", "kohya_runner", "compare", str(loras), *of.options(models),
         *((f"--clip={clip}",) if with_clip else ()), "--json"),
        check=False, capture_output=True, text=True, env=environ, cwd=root,
    )  # fmt: skip
    file = loras / "comparison" / "compare.log"
    log = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    assert ended.returncode == 0, ended.stderr + ended.stdout[-2000:] + log[-3000:]
    files = (*sorted(loras.glob("*-0*.safetensors")), loras / "my lora.safetensors")
    told = json.loads(ended.stdout)
    yield Done(of, models, files, told, log, loras / "comparison", sd_scripts, trainer_python, environ)
    shutil.rmtree(root)


def test_every_picture_was_made_by_one_process_with_one_load(swept):
    assert swept.told["ok"]
    assert [column["label"] for column in swept.told["columns"]] == ["base", "epoch 1", "epoch 2", "epoch 3"]
    assert len(swept.told["cells"]) == 4 * len(PROMPTS)
    assert swept.log.count(swept.of.loaded) == 1


def test_every_picture_is_another(swept):
    pictures = {swept.picture(column, prompt) for column in range(4) for prompt in range(2)}
    assert len(pictures) == 8
    assert all(len(set(picture)) > 50 for picture in pictures)  # black is what the scripts save for NaN


def test_a_swapped_checkpoint_gives_the_pixels_of_a_process_of_its_own(swept, tmp_path):
    assert swept.picture(2, 0) == swept.alone(swept.loras[1], 0, tmp_path / "alone")


def test_the_base_column_gives_the_pixels_of_the_base_model_alone(swept, tmp_path):
    assert swept.picture(0, 1) == swept.alone(None, 1, tmp_path / "alone")


@pytest.mark.full
@pytest.mark.parametrize("swept", ALL[:1], indirect=True, ids=["sd15"])
def test_the_clip_figures_are_in_the_table_and_with_each_picture(swept):
    assert swept.told["notes"] == []
    assert "clip_prompt" in [metric["key"] for metric in swept.told["metrics"]]
    alone = [cell["metrics"]["clip_prompt"] for cell in swept.told["cells"] if cell["column"] == 1]
    assert swept.told["columns"][1]["metrics"]["clip_prompt"] == pytest.approx(sum(alone) / len(alone), abs=1e-5)


def test_the_sheet_and_the_page_are_there(swept):
    assert Image.open(swept.folder / "contact-sheet.png").width > 600
    assert "epoch 3" in (swept.folder / "report.html").read_text(encoding="utf-8")
