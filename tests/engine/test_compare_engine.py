"""The epoch sweep by the unmodified scripts, on shrunk models: one load, and the same pixels as separate processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHILD = HERE / "compare_child.py"
PROMPTS = ("a cat, 'quoted' (really:1.2)", "portrait of bespoke punk")
EPOCHS = 3
STEPS, SIDE, SEED = 2, 64, 11


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep that ended well, and what is needed to paint one of its pictures alone."""

    family: str
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
        script = self.checkout / ("flux_minimal_inference.py" if self.family == "flux" else "gen_img.py")
        make = self._flux if self.family == "flux" else self._gen_img
        head = (str(CHILD), "plain", str(self.models / "tokenizers"), str(script))
        command = (str(self.python), *head, *make(lora, prompt, out))
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, env=self.environ, cwd=self.checkout
        )
        assert ended.returncode == 0, ended.stderr
        (picture,) = out.glob("*.png")
        return pixels(picture)

    def _gen_img(self, lora: Path | None, prompt: int, out: Path) -> tuple[str, ...]:
        kind = ("--sdxl", "--no_half_vae") if self.family == "sdxl" else ("--v1",)
        network = ("--network_module", "networks.lora", "--network_weights", str(lora)) if lora else ()
        return (
            *kind, f"--ckpt={self.models / 'model.safetensors'}", *network, "--sdpa", f"--outdir={out}",
            f"--tokenizer_cache_dir={self.models / 'tokenizers'}", f"--steps={STEPS}", f"--W={SIDE}", f"--H={SIDE}",
            f"--prompt={PROMPTS[prompt]} --d {SEED}",
        )  # fmt: skip

    def _flux(self, lora: Path | None, prompt: int, out: Path) -> tuple[str, ...]:
        parts = (f"--{part}={self.models / part}.safetensors" for part in ("clip_l", "t5xxl", "ae"))
        network = ("--lora_weights", f"{lora};1.0") if lora else ()
        return (
            f"--ckpt_path={self.models / 'dit.safetensors'}", *parts, "--dtype=float", f"--output_dir={out}",
            f"--prompt={PROMPTS[prompt]}", f"--seed={SEED}", f"--steps={STEPS}", f"--width={SIDE}", f"--height={SIDE}",
            *network,
        )  # fmt: skip


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        assert picture.size == (SIDE, SIDE)
        return picture.convert("RGB").tobytes()


SWEPT = ["sd15", "sdxl", "flux"] if os.environ.get("KOHYA_COMPARE_ENGINE") == "all" else ["sd15"]
"""What runs without being asked for; all three with KOHYA_COMPARE_ENGINE=all."""


@pytest.fixture(scope="module", params=SWEPT)
def swept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path
) -> Iterator[Swept]:
    family: str = request.param
    root = tmp_path_factory.mktemp(f"it's {family}")
    models, loras = root / "tiny models", root / "my 'loras'"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python),
        "KOHYA_WORKSPACE": str(root / "work space"),
    }
    models.mkdir()
    for command in (
        (str(HERE / "tiny_models.py"), str(sd_scripts), family, str(models)),
        (str(CHILD), "loras", str(sd_scripts), family, str(models), str(loras), str(EPOCHS)),
    ):
        made = subprocess.run((str(trainer_python), *command), check=False, capture_output=True, text=True, env=environ)
        assert made.returncode == 0, made.stderr
    ended = subprocess.run(
        (sys.executable, "-m", "kohya_runner", "compare", str(loras), *options(family, models), "--json"),
        check=False, capture_output=True, text=True, env=environ, cwd=root,
    )  # fmt: skip
    log = (loras / "comparison" / "compare.log").read_text(encoding="utf-8", errors="replace")
    assert ended.returncode == 0, ended.stderr + log[-3000:]
    files = (*sorted(loras.glob("*-0*.safetensors")), loras / "my lora.safetensors")
    told = json.loads(ended.stdout)
    yield Swept(family, models, files, told, log, loras / "comparison", sd_scripts, trainer_python, environ)
    shutil.rmtree(root)


def options(family: str, models: Path) -> tuple[str, ...]:
    model = models / ("dit.safetensors" if family == "flux" else "model.safetensors")
    parts = ("clip_l", "t5xxl", "ae") if family == "flux" else ()
    return (
        f"--family={family}", f"--model={model}", *(f"--component={p}={models / p}.safetensors" for p in parts),
        f"--component=tokenizer_cache_dir={models / 'tokenizers'}", *(f"--prompt={prompt}" for prompt in PROMPTS),
        f"--steps={STEPS}", f"--size={SIDE}x{SIDE}", f"--seeds={SEED}",
    )  # fmt: skip


def test_every_picture_was_made_by_one_load(swept):
    assert swept.told["ok"]
    assert [column["label"] for column in swept.told["columns"]] == ["base", "epoch 1", "epoch 2", "epoch 3"]
    assert len(swept.told["cells"]) == 4 * len(PROMPTS)
    loaded = {"flux": "Loading clip_l from", "sdxl": "building U-Net", "sd15": "load StableDiffusion checkpoint"}
    assert swept.log.count(loaded[swept.family]) == 1


def test_every_picture_is_another(swept):
    pictures = {swept.picture(column, prompt) for column in range(4) for prompt in range(2)}
    assert len(pictures) == 8


def test_a_swapped_checkpoint_gives_the_pixels_of_a_process_of_its_own(swept, tmp_path):
    assert swept.picture(2, 0) == swept.alone(swept.loras[1], 0, tmp_path / "alone")


def test_the_base_column_gives_the_pixels_of_the_base_model_alone(swept, tmp_path):
    assert swept.picture(0, 1) == swept.alone(None, 1, tmp_path / "alone")


def test_the_sheet_and_the_page_are_there(swept):
    assert Image.open(swept.folder / "contact-sheet.png").width > 600
    assert "epoch 3" in (swept.folder / "report.html").read_text(encoding="utf-8")
