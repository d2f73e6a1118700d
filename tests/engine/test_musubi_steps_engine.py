"""Batches and buckets as musubi-tuner's own dataset code counts them, on fifteen layouts of each newer family."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tiers
from PIL import Image

from kohya_runner.engines.musubi.steps import MusubiBuckets, MusubiLength, Part, plan_steps
from kohya_runner.engines.steps_plan import SaveSettings

pytestmark = pytest.mark.daily

CHILD = Path(__file__).with_name("musubi_steps_child.py")
ARCHITECTURES = {"krea2": "kr2", "z_image": "zi", "qwen_image": "qi", "qwen_image_edit": "qie"}
LAYOUTS = 15 if tiers.full() else 4
SIDES = range(64, 257)


def picture(dice: random.Random, path: Path) -> tuple[int, int]:
    size = (dice.choice(SIDES), dice.choice(SIDES))
    Image.new("RGB", size, dice.choice(("red", "blue", "green"))).save(path)
    return size


def entry(dice: random.Random, folder: Path, *, edits: bool) -> tuple[dict[str, Any], Part]:
    """One dataset of the config as the runner writes it, and what the runner counts."""
    chosen: dict[str, Any] = {
        "resolution": dice.choice(((64, 64), (128, 128), (128, 80), (96, 96))), "enable_bucket": dice.random() < 0.8,
        "bucket_no_upscale": dice.random() < 0.4,
    }  # fmt: skip
    if edits:
        chosen |= dice.choice(({}, {"no_resize_control": True}, {"control_resolution": (96, 96)},
                               {"no_resize_control": True, "control_resolution": (128, 96)}))  # fmt: skip
    repeats, batch, count = dice.randint(1, 4), dice.randint(1, 4), dice.randint(1, 6)
    target, control = folder / "target", folder / "control"
    target.mkdir(parents=True)
    control.mkdir()
    pictures = []
    for number in range(1, count + 1):
        name = f"{number:06d}"
        size = picture(dice, target / f"{name}.png")
        (target / f"{name}.txt").write_text("a caption\n", encoding="utf-8")
        inputs = range(dice.randint(1, 3) if edits else 0)
        controls = tuple(picture(dice, control / f"{name}{f'_{n}' if n else ''}.png") for n in inputs)
        pictures.append((size, controls))
    config = {
        "image_directory": str(target), **({"control_directory": str(control)} if edits else {}),
        "cache_directory": str(folder / "cache"), "caption_extension": ".txt", "num_repeats": repeats,
        "batch_size": batch, **{key: list(v) if isinstance(v, tuple) else v for key, v in chosen.items()},
    }  # fmt: skip
    return config, Part(tuple(pictures), repeats, batch, MusubiBuckets(**chosen))


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_the_numbers_are_those_of_the_trainers_own_dataset(
    family: str, tmp_path: Path, musubi_tuner: Path, musubi_python: Path
):
    requests, planned = [], []
    for seed in range(LAYOUTS):
        dice = random.Random(f"{family} {seed}")
        folders = [tmp_path / f"{seed}" / f"{number}" for number in range(dice.randint(1, 3))]
        made = [entry(dice, folder, edits=family == "qwen_image_edit") for folder in folders]
        config = tmp_path / f"{seed}.json"
        config.write_text(json.dumps({"datasets": [told for told, _ in made]}), encoding="utf-8")
        requests.append(json.dumps({"architecture": ARCHITECTURES[family], "config": str(config)}))
        plan, findings = plan_steps([part for _, part in made], MusubiLength(SaveSettings("cat"), max_train_epochs=1))
        assert plan is not None, findings
        sizes = sorted([row.width, row.height, row.samples] for row in plan.buckets)
        planned.append({"items": plan.images_per_epoch, "batches": plan.batches_per_epoch, "buckets": sizes})
    environ = {**os.environ, "PYTHONPATH": str(musubi_tuner / "src"), "OMP_NUM_THREADS": "1",
               "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    done = subprocess.run((str(musubi_python), str(CHILD)), input="\n".join(requests), capture_output=True, text=True,
                          check=False, env=environ)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == planned
