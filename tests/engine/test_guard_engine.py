"""Faults that are real, in the unmodified trainer on a shrunk model: a loss of NaN, a full disk, no memory left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHRINK = HERE / "shrink"
PICTURES = 4  # and as many steps an epoch
EPOCHS = 200
DISK_BYTES = 96 << 20
CPU = ("args.optimizer_type=AdamW", "args.mixed_precision=no", "args.max_data_loader_n_workers=0", "args.sdpa=true")
SMALL = (
    "args.resolution=64", "args.min_bucket_reso=64", "args.train_batch_size=1", "datasets.0.repeats=1",
    f"args.max_train_epochs={EPOCHS}", "args.save_every_n_epochs=1", "args.save_last_n_epochs=null",
)  # fmt: skip
FIRST = "sd15_lora-000001.safetensors"


@dataclass(frozen=True, slots=True)
class Place:
    """Tiny models and pictures, and the environment of the command."""

    root: Path
    environ: dict[str, str]

    def start(self, workspace: Path, *sets: str) -> subprocess.Popen[str]:
        models, pictures = self.root / "tiny models", self.root / "my pictures"
        places = (
            f"datasets.0.images={pictures}",
            f"model={models / 'model.safetensors'}",
            f"args.tokenizer_cache_dir={models / 'tokenizers'}",
        )
        command = (
            *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / "sd15_lora.yaml")),
            *(f"--workspace={workspace}", "--allow=hub.offline", "--allow=disk.full"),
            *(f"--set={text}" for text in (*places, *CPU, *SMALL, *sets)),
        )
        return subprocess.Popen(
            command, env=self.environ, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("it's guarded")
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }
    (root / "tiny models").mkdir()
    made_models.put(trainer_python, sd_scripts, "sd15", root / "tiny models")
    draw(root / "my pictures")
    yield Place(root, environ)
    shutil.rmtree(root)


def draw(folder: Path) -> None:
    folder.mkdir()
    dice = random.Random(0)
    for number in range(PICTURES):
        Image.frombytes("RGB", (64, 64), dice.randbytes(3 * 64 * 64)).save(folder / f"a picture {number}.png")
        (folder / f"a picture {number}.txt").write_text("a sprite", encoding="utf-8")


def run_dir(workspace: Path) -> Path:
    return workspace / "runs" / "sd15_lora" / "001"


def record(workspace: Path) -> Any:
    return json.loads((run_dir(workspace) / "record.json").read_text(encoding="utf-8"))


def wait_for_first_epoch(process: subprocess.Popen[str], workspace: Path) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if any(c["file"] == FIRST and c["checked"] for c in record(workspace)["checkpoints"]):
                return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate()[1])


def usable(kept: Any) -> list[str]:
    return [c["file"] for c in kept["checkpoints"] if c["complete"] and not c["problem"]]


def test_a_learning_rate_of_a_million_is_stopped_and_the_epoch_before_it_kept(place):
    """Epoch 1 with a learning rate of 1e-4, from its sixth step on 1e6."""
    workspace = place.root / "nan"
    rate = "args.learning_rate=1000000.0"
    rule = "args.lr_scheduler_args={step_rules: \"'1e-10:6,1'\"}"
    process = place.start(
        workspace, rate, "args.unet_lr=null", "args.text_encoder_lr=null", "args.lr_scheduler=piecewise_constant",
        rule, "args.lr_warmup_steps=0",
    )  # fmt: skip
    _, err = process.communicate(timeout=400)
    assert process.returncode == 9, err
    kept = record(workspace)
    assert kept["exit"]["stop"] in ("loss.nan", "loss.infinite", "weights.nan")
    assert kept["state"] == "failed"
    assert usable(kept)[0] == FIRST
    assert f"the last good one is {usable(kept)[-1]}" in err
    assert kept["steps_seen"] < EPOCHS * PICTURES
    after = [c for c in kept["checkpoints"] if c["epoch"] > kept["nan_step"] / PICTURES]
    assert all(c["nonfinite"] for c in after)
    first = (run_dir(workspace) / "output" / FIRST).stat().st_mtime
    assert kept["timings"]["ended"] - first < 60


def test_a_disk_that_is_full_at_a_save_ends_the_run_and_no_half_file_counts(place):
    workspace = place.root / "small disk"
    workspace.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(workspace))
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NO SMALL DISK: mounting a tmpfs is not allowed here ({done.stderr.strip()})")
    try:
        process = place.start(workspace, "guard.disk=ignore")
        wait_for_first_epoch(process, workspace)
        numbers = os.statvfs(workspace)
        with contextlib.suppress(OSError), (workspace / "somebody's file").open("wb") as file:
            file.write(bytes(numbers.f_bavail * numbers.f_frsize))
        _, err = process.communicate(timeout=240)
        kept = record(workspace)
        assert (process.returncode, kept["exit"]["cause"]) == (8, "disk.full"), err
        assert "the disk is full" in err
        assert usable(kept)[0] == FIRST
        assert not [c for c in kept["checkpoints"] if not c["complete"] and not c["problem"]]
    finally:
        subprocess.run(("umount", "-l", str(workspace)), check=True)
