"""LoKr, LoHa and inpainting by the unmodified scripts on shrunk models, seconds each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import made_models
import pytest
from PIL import Image
from test_tiny_families_engine import ALL, ROOT, SHRINK, Family, draw

from kohya_runner.artefact.content import examine
from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.options.snapshot import matches_snapshot

pytestmark = pytest.mark.daily

SD15, SDXL, ANIMA = (next(f for f in ALL if f.name == name) for name in ("sd15", "sdxl", "anima"))
BUCKETS = ("args.min_bucket_reso=64",)
LOKR = replace(SDXL, recipe="sdxl_lokr.yaml", overrides=BUCKETS)
NINE = "inpainting.safetensors"
SD15_INPAINT = replace(SD15, recipe="sd15_inpaint.yaml", model=NINE)
SDXL_INPAINT = replace(SDXL, recipe="sdxl_inpaint.yaml", model=NINE, overrides=BUCKETS)
LOHA = ("args.network_module=networks.loha", "args.network_dim=4")
CASES = {
    "sdxl-lokr": (LOKR, (), "lokr_w1"),
    "sdxl-loha": (LOKR, (*LOHA, "args.network_args={conv_dim: 2}"), "hada_w1_a"),
    "anima-lokr": (ANIMA, ("args.network_module=networks.lokr", "args.network_dim=4"), "lokr_w1"),
    "anima-loha": (ANIMA, LOHA, "hada_w1_a"),
    "sd15-inpainting": (SD15_INPAINT, (), "lora_up.weight"),
    "sdxl-inpainting": (SDXL_INPAINT, (), "lora_up.weight"),
}


@dataclass(frozen=True, slots=True)
class Trainer:
    """A checkout with its Python, and a folder for what is made of them."""

    root: Path
    checkout: Path
    python: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "KOHYA_RUNNER_SD_SCRIPTS": str(self.checkout), "CUDA_VISIBLE_DEVICES": "",
            "KOHYA_RUNNER_PYTHON": str(self.python), "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_CACHE": str(self.root / "ws" / "cache" / "huggingface" / "hub"),
        }  # fmt: skip

    def launch(self, family: Family, more: tuple[str, ...]) -> Path:
        """The folder of a run of the family's recipe that ended well."""
        models, pictures, workspace = self.root / "models", self.root / "pictures", self.root / "ws"
        if not models.is_dir():
            made_models.put(self.python, self.checkout, family.row.family, models, self.environ)
            draw(pictures)
        command = (
            *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / family.recipe)),
            *(f"--workspace={workspace}", "--allow=hub.offline", *family.choices(models, pictures)),
            *(f"--set={text}" for text in more),
        )
        ended = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environ, cwd=self.root)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return workspace / "runs" / family.recipe.removesuffix(".yaml") / "001"


@pytest.fixture
def trainer(tmp_path: Path, sd_scripts: Path, trainer_python: Path) -> Trainer:
    if not matches_snapshot(sd_scripts, SD_SCRIPTS):
        pytest.skip("an older trainer has no such modules")
    return Trainer(tmp_path, sd_scripts, trainer_python)


def last_checkpoint(folder: Path) -> Path:
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["state"] == "succeeded"
    return folder / "output" / record["checkpoints"][-1]["file"]


@pytest.mark.parametrize("case", CASES)
def test_a_network_of_another_kind_is_trained_and_its_file_is_one_of_its_kind(case: str, trainer: Trainer) -> None:
    family, more, tensor = CASES[case]
    folder = trainer.launch(family, more)
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    log = (folder / "trainer.log").read_text(encoding="utf-8")
    announced = sum(map(int, re.findall(r"enable (?:modules|LoRA) for .*?: (\d+) modules", log)))
    assert record["modules"] == announced > 0
    assert [found["modules"] for found in record["checkpoints"]] == [announced] * 2
    last = last_checkpoint(folder)
    names = [row.name for row in read_header(last).tensors]
    assert sum(name.endswith(f".{tensor}") for name in names) > 0
    assert examine(last).problem == ""


WHOLE = ("args.train_inpainting=true", "args.cache_latents=null", "args.cache_latents_to_disk=null", *BUCKETS)
ADAFACTOR = ("args.optimizer_type=Adafactor", "args.full_bf16=null")
INPAINTING = {
    "sd15-lora": (SD15_INPAINT, ("args.unet_lr=1e-2",)),
    "sdxl-lora": (SDXL_INPAINT, ("args.learning_rate=1e-2",)),
    "sd15-model": (replace(SD15, recipe="sd15_finetune.yaml"), (*WHOLE, "args.learning_rate=1e-2")),
    "sdxl-model": (replace(SDXL, recipe="sdxl_finetune.yaml"), (*WHOLE, *ADAFACTOR, "args.learning_rate=1e-2")),
}


@pytest.mark.full
@pytest.mark.parametrize("kind", INPAINTING)
def test_an_inpainting_training_paints_in_a_picture_and_no_longer_as_before(kind: str, trainer: Trainer) -> None:
    """Whole models begin as ordinary ones; the trainer's own inference script asks for xformers, and so for a GPU."""
    family, more = INPAINTING[kind]
    prompts, source = trainer.root / "prompts.txt", trainer.root / "pictures" / "a picture 0.png"
    prompts.write_text(f"a cat --i {source} --w 64 --h 64 --s 2 --d 1\na cat --w 64 --h 64\n", encoding="utf-8")
    asked = (f"args.sample_prompts={prompts}", "args.sample_at_first=true", "args.sample_every_n_epochs=2")
    folder = trainer.launch(family, (*more, *asked))
    if kind.endswith("model"):
        tensors = read_header(last_checkpoint(folder)).tensors
        (first,) = (row.shape for row in tensors if row.name.endswith("input_blocks.0.0.weight"))
        assert first[1] == 9
    painted = [pixels(file) for file in sorted((folder / "output" / "sample").glob("*.png"))]
    assert len(painted) == len(set(painted)) == 2  # before and after, of the prompt that names a picture


def pixels(file: Path) -> bytes:
    with Image.open(file) as picture:
        found = picture.convert("RGB").tobytes()
    assert len(set(found)) > 50  # black is what is saved for NaN
    return found
