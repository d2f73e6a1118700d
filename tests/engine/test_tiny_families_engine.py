"""A whole launch of every family by its own unmodified script, in seconds: the recipes of recipes/ on shrunk models."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from generators import REFUSED, Generator, Left
from matrix import note
from PIL import Image

from kohya_runner.engines import table
from kohya_runner.engines.sd_scripts.painter import linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.engines.support import Support

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHRINK = HERE / "shrink"
CAPTION = "pixel art, 24x24, portrait of bespoke punk, palette: #ff0000"
SIZES = ((64, 64), (64, 64), (96, 64), (48, 80), (24, 24))
CPU = ("args.optimizer_type=AdamW", "args.mixed_precision=no", "args.max_data_loader_n_workers=0", "args.sdpa=true")
SMALL = ("args.resolution=64", "args.max_train_epochs=2", "datasets.0.repeats=1")


@dataclass(frozen=True, slots=True)
class Family:
    """A recipe, and what it needs besides to run on a CPU with small pictures."""

    name: str
    recipe: str
    overrides: tuple[str, ...]
    components: tuple[str, ...] = ()
    model: str = "model.safetensors"
    counted: tuple[str, ...] = ("unet",)  # parts of the table's module counts; none where the model has fewer blocks
    of: str = ""  # the family in the table, where this is a variant of it

    @property
    def row(self) -> Support:
        row = table.find(self.of or self.name, "lora")
        assert row is not None
        return row

    def choices(self, models: Path, pictures: Path) -> list[str]:
        """The --set options of the launch."""
        places = [f"datasets.0.images={pictures}", f"model={models / self.model}"]
        places += [f"components.{part}={models / part}.safetensors" for part in self.components]
        tokenizers = models / "tokenizers"
        places += [f"args.tokenizer_cache_dir={tokenizers}"] if tokenizers.is_dir() else []
        return [f"--set={text}" for text in (*places, *CPU, *SMALL, *self.overrides)]


BUCKETS = ("args.min_bucket_reso=64",)
BOTH = ("text_encoder", "unet")
DIT = "dit.safetensors"
ALL = (
    Family("sd15", "sd15_lora.yaml", BUCKETS, counted=BOTH),
    Family("sdxl", "bespoke_baby_sdxl.yaml", ("args.xformers=false", f"datasets.0.expect={len(SIZES)}"), counted=BOTH),
    Family("sd2", "sd2_lora.yaml", BUCKETS, counted=BOTH),
    Family("sd3", "sd3_lora.yaml", BUCKETS, ("clip_l", "clip_g", "t5xxl"), DIT, ()),
    Family("flux", "flux_lora.yaml", (*BUCKETS, "args.fp8_base=false"), ("clip_l", "t5xxl", "ae"), DIT, ()),
    Family(
        "chroma",
        "chroma_lora.yaml",
        (*BUCKETS, "args.fp8_base=false"),
        ("t5xxl", "ae"),
        "chroma.safetensors",
        (),
        of="flux",
    ),
    Family("lumina", "lumina_lora.yaml", BUCKETS, ("gemma2", "ae"), DIT),
    Family(
        "hunyuan_image",
        "hunyuan_image_lora.yaml",
        (*BUCKETS, "args.fp8_scaled=false", "args.blocks_to_swap=0"),
        ("text_encoder", "byt5", "vae"),
        DIT,
    ),
    Family("anima", "anima_lora.yaml", BUCKETS, ("qwen3", "vae"), DIT),
)
USUAL = ("sd15", "sdxl", "flux", "anima")
"""Enough for every day: test_rules_engine.py trains every family's script, too."""
FAMILIES = [f for f in ALL if f.name in USUAL or tiers.full()]


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has ended with exit code 0, and what it left in the run's folder."""

    family: Family
    folder: Path
    models: Path
    generator: Generator

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def log(self) -> str:
        return (self.folder / "trainer.log").read_text(encoding="utf-8")

    def modules(self) -> int:
        """What the trainer said it trains, text encoders and U-Net together (networks/lora.py, lora_flux.py)."""
        return sum(map(int, re.findall(r"enable LoRA for .*: (\d+) modules", self.log)))

    @property
    def files(self) -> list[str]:
        name = self.family.recipe.removesuffix(".yaml")
        return [f"{name}-000001.safetensors", f"{name}.safetensors"]

    @property
    def left(self) -> Left:
        return Left(self.models, *(self.folder / "output" / name for name in self.files))

    def note(self, **more: str) -> None:
        """Write the run down in the matrix."""
        record, row = self.read("record.json"), self.family.row
        variant = {"variant": self.family.name} if self.family.of else {}
        note({"family": row.family, "method": row.method, "script": row.script, "commit": record["trainer"]["commit"],
              "steps": record["steps_seen"], **variant, **more})  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path
) -> Iterator[Done]:
    family: Family = request.param
    root = tmp_path_factory.mktemp(f"it's {family.name}")
    models, pictures, workspace = root / "tiny models", root / "my pictures", root / "work space"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_CACHE": str(workspace / "cache" / "huggingface" / "hub"),
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, family.row.family, models, environ)
    draw(pictures)
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / family.recipe)),
        *(f"--workspace={workspace}", "--allow=hub.offline", *family.choices(models, pictures)),
    )
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    yield Done(family, folder, models, Generator(family.name, sd_scripts, trainer_python, environ))
    shutil.rmtree(root)  # the wide LoRA of the SDXL recipe is large, and pytest keeps temporary folders


def draw(folder: Path) -> None:
    """Noise of five shapes, with captions that the strictest of the recipes accepts."""
    folder.mkdir()
    dice = random.Random(0)
    for number, size in enumerate(SIZES):
        picture = Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1]))
        picture.save(folder / f"a picture {number}.png")
        (folder / f"a picture {number}.txt").write_text(CAPTION, encoding="utf-8")


def test_the_run_is_on_record_as_a_success(done):
    assert done.read("record.json")["state"] == "succeeded"


def test_every_epoch_left_a_checkpoint_on_record(done):
    record = done.read("record.json")
    assert [found["file"] for found in record["checkpoints"]] == done.files
    assert sorted(path.name for path in (done.folder / "output").glob("*.safetensors")) == sorted(done.files)
    assert all(found["complete"] and found["sha256"] for found in record["checkpoints"])


def test_the_record_counts_the_modules_that_the_trainer_announced(done):
    record = done.read("record.json")
    assert done.modules() > 0
    assert record["modules"] == done.modules()
    assert [found["modules"] for found in record["checkpoints"]] == [done.modules()] * 2


def test_the_steps_are_those_that_were_planned(done):
    (printed,) = map(int, re.findall(r"total optimization steps[^:]*: (\d+)", done.log))
    record = done.read("record.json")
    assert done.read("plan.json")["steps"]["total"] == printed
    assert (record["steps_planned"], record["steps_seen"]) == (printed, printed)


def test_the_batches_are_those_that_were_planned(done):
    (printed,) = map(int, re.findall(r"num batches per epoch[^:]*: (\d+)", done.log))
    assert done.read("plan.json")["steps"]["batches_per_epoch"] == printed


@pytest.mark.parametrize("done", [f for f in FAMILIES if f.counted], indirect=True, ids=lambda family: family.name)
def test_there_are_as_many_modules_as_the_table_of_families_says(done):
    row = done.family.row
    assert row.modules is not None
    assert done.read("record.json")["modules"] == sum(row.modules[part] for part in done.family.counted)


def test_no_loss_is_nan(done):
    losses = re.findall(r"avr_loss=([^,\]]+)", done.log)
    assert losses
    assert "nan" not in losses


def test_the_trainer_asked_nothing_of_the_hub(done):
    asked = {f"models--{repository.replace('/', '--')}" for repository in done.family.row.tokenizers}
    cache = done.folder.parents[2] / "cache" / "huggingface"
    assert "load tokenizer from cache" in done.log or {path.name for path in cache.rglob("models--*")} <= asked


def test_what_ran_is_written_down(done):
    record = done.read("record.json")
    assert record["steps_seen"] >= 2
    assert all(found["complete"] for found in record["checkpoints"])
    done.note()


@pytest.mark.full
def test_the_trainers_own_generator_loads_the_lora_and_it_changes_the_picture(done, tmp_path):
    if done.family.row.key in REFUSED:
        pytest.skip("the next test")
    changes_the_picture(done.generator.paint("lora", done.left, tmp_path))
    done.note(loads_in=done.generator.of.script)


@pytest.mark.full
def test_a_lora_that_the_trainers_own_generator_cannot_load_is_written_down_with_the_reason(done, tmp_path):
    if (reason := REFUSED.get(done.family.row.key)) is None:
        pytest.skip("the test before")
    code, said, _ = done.generator.run("lora", done.left, tmp_path / "as it is")
    assert code != 0
    assert "size mismatch for lora_unet_" in said
    copy = linear(done.left.last, tmp_path)
    changes_the_picture(done.generator.paint("lora", replace(done.left, last=copy), tmp_path / "linear"))
    done.note(refused=reason)


def changes_the_picture(pictures: dict[str, bytes]) -> None:
    assert pictures["with"] != pictures["without"]
    assert all(len(set(picture)) > 50 for picture in pictures.values())  # black is what the scripts save for NaN
