"""One edit dataset, trained for real by every trainer of pairs: the recipes of recipes/ on shrunk models."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from PIL import Image
from tiny_methods import fill_hub_cache

from kohya_runner.artefact.lora import inspect
from kohya_runner.engines import table

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZES = ((64, 64), (128, 64), (64, 64))
CPU = ("args.mixed_precision=no", "args.max_data_loader_n_workers=0", "args.sdpa=true", "args.full_bf16=null",
       "args.optimizer_type=AdamW", "args.enable_bucket=true", "args.cache_latents=true")  # fmt: skip
SMALL = ("args.resolution=64", "args.min_bucket_reso=64", "args.max_train_epochs=1", "args.save_every_n_epochs=1",
         "args.train_batch_size=1")  # fmt: skip
EVERY = ("sd15_controlnet", "sdxl_controlnet", "sdxl_lllite", "flux_controlnet")
QUICK = ("sd15_controlnet",)
"""What runs without being asked for; all of them with --tier full."""


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has ended with exit code 0."""

    name: str
    folder: Path
    data: Path
    before: dict[str, bytes]

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def log(self) -> str:
        return (self.folder / "trainer.log").read_text(encoding="utf-8")


def edits(folder: Path) -> Path:
    """Pairs with names that trainers stumble over, one input twice, one of another size than its output."""
    dice, lines = random.Random(7), []
    for number, size in enumerate(SIZES):
        names = {"input_image": f"inputs/a_b_c_d_{number}.png", "output_image": f"outputs/{number}/it's.png"}
        for name in names.values():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1])).save(folder / name)
        lines.append(names | {"instruction": f"make it\nnumber {number}"})
    twice = Image.open(folder / "inputs" / "a_b_c_d_2.png").resize((192, 192))
    twice.save(folder / "inputs" / "a_b_c_d_2.png")
    lines.append(lines[2] | {"output_image": lines[0]["output_image"], "instruction": "make it the first"})
    metadata = folder / "metadata.jsonl"
    metadata.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return metadata


def chosen() -> tuple[str, ...]:
    return EVERY if tiers.full() else QUICK


@pytest.fixture(scope="module", params=chosen())
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path
) -> Iterator[Done]:
    name, family = request.param, request.param.partition("_")[0]
    root = tmp_path_factory.mktemp(f"it's {name}")
    models, workspace = root / "tiny models", root / "work space"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, family, models, environ)
    metadata = edits(root / "my edits")
    before = {str(path): path.read_bytes() for path in sorted((root / "my edits").rglob("*")) if path.is_file()}
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / f"{name}.yaml")),
        *(f"--workspace={workspace}", "--allow=hub.offline"),
        *(f"--set={text}" for text in (*CPU, *SMALL, *places(family, metadata, models))),
    )
    if family == "flux":
        fill_hub_cache(workspace / "cache" / "huggingface" / "hub", models / "tokenizers")
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    yield Done(name, folder, root / "my edits", before)
    shutil.rmtree(root)


def places(family: str, metadata: Path, models: Path) -> Iterator[str]:
    """The one dataset, the same for all, and the models."""
    yield f"datasets={json.dumps([{'images': str(metadata), 'concept': 'pairs', 'expect': 4}])}"
    if family == "flux":
        yield from (f"components.{part}={models / part}.safetensors" for part in ("clip_l", "t5xxl", "ae"))
        yield f"model={models / 'dit.safetensors'}"
        return
    yield f"args.tokenizer_cache_dir={models / 'tokenizers'}"
    yield f"model={models / 'model.safetensors'}"


def test_the_trainer_trained_every_pair(done):
    (printed,) = map(int, re.findall(r"total optimization steps[^:]*: (\d+)", done.log))
    record = done.read("record.json")
    assert (record["state"], record["steps_planned"], record["steps_seen"]) == ("succeeded", printed, printed)
    assert printed == 4


def test_the_trainer_found_the_instructions(done):
    assert "caption file found" not in done.log
    assert not re.search(r"No caption file|neither caption file", done.log)


def test_the_checkpoint_is_of_the_methods_kind(done):
    (family, method) = done.name.split("_")
    row = table.find(family, method)
    final = done.folder / "output" / f"{done.name}.safetensors"
    assert inspect(final).complete
    assert any(name.startswith(row.holds.begin) for name in inspect(final).names)


def test_no_loss_is_nan(done):
    losses = re.findall(r"loss=([^,\]]+)", done.log)
    assert losses
    assert "nan" not in losses


def test_the_sources_are_as_they_were(done):
    assert {str(p): p.read_bytes() for p in sorted(done.data.rglob("*")) if p.is_file()} == done.before
