"""``datasets[].options`` and metadata files against the trainer's dataset code, and its schemas against our keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
from whole_data_kinds import picture

from kohya_runner.dataset.tree_build import build
from kohya_runner.engines.sd_scripts.dataset_config import INSTEAD, KEYS, PER_DATASET
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARGS = {"resolution": 64, "enable_bucket": True, "min_bucket_reso": 64, "train_batch_size": 2, "cache_latents": True}
WIDE = {"resolution": [128, 128], "batch_size": 3}
SIZES = ((64, 64), (128, 64), (64, 64), (64, 128), (64, 64))

CASES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "plain": ({"n": 5}, {"n": 2, "concept": "dog"}),
    "flip": ({"n": 5, "options": {"flip_aug": True}}, {"n": 3}),
    "words": ({"n": 3, "options": {"caption_prefix": "é,", "keep_tokens": 2, "shuffle_caption": True}}, {"n": 2}),
    "sizes": ({"n": 5, "options": WIDE}, {"n": 4, "repeats": 3}),
    "three": ({"n": 5, "options": WIDE}, {"n": 4, "options": {"batch_size": 1}}, {"n": 3}),
    "shared": ({"n": 5, "options": WIDE}, {"n": 4, "options": {**WIDE, "flip_aug": True}}),
    "classes": ({"n": 3, "options": WIDE}, {"n": 2}, {"n": 2, "options": WIDE, "regularization": True, "concept": "a"}),
    "nearest": ({"n": 2, "options": {"resize_interpolation": "nearest"}}, {"n": 2}),
    "off": ({"n": 2, "options": {"enable_bucket": False, "resolution": 96}}, {"n": 4}),
    "resolutions": (
        {"n": 5},
        {"n": 5, "same": True, "options": {"resolution": [128, 128]}},
        {"n": 5, "same": True, "options": {"resolution": [192, 128], "batch_size": 1}},
    ),
    "resolutions, larger pictures alone": (
        {"n": 5, "repeats": 2},
        {"n": 5, "same": True, "left": 2, "options": {"resolution": [128, 128], "skip_image_resolution": [100, 60]}},
    ),
    "resolutions, not enlarged": (
        {"n": 5, "options": {"bucket_no_upscale": True, "resolution": [256, 256], "max_bucket_reso": 256}},
        {"n": 5, "same": True, "repeats": 3},
        {"n": 4, "options": {"resolution": [64, 128], "batch_size": 4}},
    ),
    "resolutions, classes of each": (
        {"n": 4},
        {"n": 4, "same": True, "options": WIDE},
        {"n": 3, "regularization": True, "concept": "a"},
        {"n": 2, "options": WIDE, "regularization": True, "concept": "a"},
    ),
    "rows": ({"n": 4, "rows": True, "options": {"keep_tokens": 1}}, {"n": 2, "rows": True, "repeats": 2}),
}


@dataclass(frozen=True)
class Truth:
    """What was planned, and what the trainer's code made of the laid-out tree."""

    plans: Mapping[str, Plan]
    fates: Mapping[str, dict[str, Any]]
    schemas: list[dict[str, str]]


def write(folder: Path, count: int, *, rows: bool) -> Path:
    folder.mkdir(parents=True)
    listed = []
    for number in range(count):
        name = f"a picture {number}.png"
        (folder / name).write_bytes(picture(number, SIZES[number]))
        listed.append({"file_name": name, "text": f"a, b{number}, c"})
        if not rows:
            (folder / f"a picture {number}.txt").write_text(f"a, b{number}, c", encoding="utf-8")
    if not rows:
        return folder
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, listed)), encoding="utf-8")
    return folder / "metadata.jsonl"


def planned(name: str, root: Path) -> Plan:
    entries = []
    for number, case in enumerate(CASES[name]):
        if not case.get("same"):
            images = write(root / name / f"it's {number}", case["n"], rows=case.get("rows", False))
        more = {key: value for key, value in case.items() if key not in ("n", "rows", "same", "left")}
        entries.append({"images": str(images), "concept": "cat", **more})
    recipe = root / name / "recipe.yaml"
    whole = {"name": name, "family": "sd15", "model": {"random": "sd15"}, "datasets": entries, "args": ARGS}
    recipe.write_text(json.dumps(whole), encoding="utf-8")
    request = Request(recipe, workspace=str(root / name / "work space"), elsewhere=True)
    plan = make_plan(request, environ={"HOME": str(root), "PATH": os.environ["PATH"]})
    assert plan.ok, [str(finding) for finding in plan.findings]
    assert plan.layout is not None
    build(plan.layout)
    return plan


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Truth:
    root = tmp_path_factory.mktemp("it's own options")
    plans = {name: planned(name, root) for name in CASES}
    argvs = [list(plan.command.argv[plan.command.argv.index("train_network.py") + 1 :]) for plan in plans.values()]
    (root / "jobs.json").write_text(json.dumps(argvs), encoding="utf-8")
    command = (str(trainer_python), str(HERE / "own_options_child.py"), str(sd_scripts), str(root / "jobs.json"))
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert ended.returncode == 0, ended.stderr[-3000:]
    answer = json.loads(ended.stdout)
    return Truth(plans, dict(zip(CASES, answer["fates"], strict=True)), answer["schemas"])


def test_our_keys_are_those_of_the_trainers_schemas(truth: Truth):
    subset, dataset = truth.schemas
    own = set(KEYS) | (set(INSTEAD) & {*subset, *dataset})
    assert own == {*subset, *dataset}
    assert set(dataset) - set(subset) == PER_DATASET


def test_our_kinds_are_those_of_the_trainers_schemas(truth: Truth):
    kinds = {key: kind for schema in truth.schemas for key, kind in schema.items() if key in KEYS}
    assert kinds == KEYS


@pytest.mark.parametrize("name", CASES)
def test_the_trainer_takes_the_tree(truth: Truth, name: str):
    assert truth.fates[name]["error"] is None


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_has_the_batches_that_were_planned(truth: Truth, name: str):
    assert truth.fates[name]["batches"] == truth.plans[name].steps.batches_per_epoch


@pytest.mark.parametrize("name", CASES)
def test_the_buckets_hold_the_pictures_that_were_planned(truth: Truth, name: str):
    counts: dict[tuple[int, int], int] = {}
    for dataset in truth.fates[name]["datasets"]:
        for width, height, images in dataset["buckets"]:
            counts[width, height] = counts.get((width, height), 0) + images
    steps = truth.plans[name].steps
    assert counts == {(bucket.width, bucket.height): bucket.images for bucket in steps.buckets}


@pytest.mark.parametrize("name", CASES)
def test_each_picture_is_trained_with_the_options_of_its_own_dataset(truth: Truth, name: str):
    found = [image for dataset in truth.fates[name]["datasets"] for image in dataset["images"]]
    wanted = sorted(
        [case.get("options", {}).get("flip_aug", False), case.get("options", {}).get("keep_tokens", 0),
         str(case.get("options", {}).get("resize_interpolation"))]
        for case in CASES[name] for _ in range(case.get("left", case["n"]))
    )  # fmt: skip
    assert sorted([flip, keep, how] for *_, flip, keep, how in found) == wanted


def test_the_words_of_a_metadata_file_are_the_prompts(truth: Truth):
    prompts = [image[1] for dataset in truth.fates["rows"]["datasets"] for image in dataset["images"]]
    assert sorted(prompts) == sorted([*(f"a, b{n}, c" for n in range(4)), *(f"a, b{n}, c" for n in range(2))])


def test_a_prefix_is_that_of_its_own_dataset(truth: Truth):
    prompts = [image[1] for dataset in truth.fates["words"]["datasets"] for image in dataset["images"]]
    assert sum(prompt.startswith("é, ") for prompt in prompts) == 3


def test_class_images_are_measured_by_their_own_dataset(truth: Truth):
    wide = next(d for d in truth.fates["classes"]["datasets"] if d["resolution"] == [128, 128])
    assert sum(repeats for _, _, repeats, is_reg, *_ in wide["images"] if is_reg) == 3


@pytest.mark.full
def test_a_real_training_takes_the_steps_that_were_planned(tmp_path: Path, sd_scripts: Path, trainer_python: Path):
    models = tmp_path / "it's a tiny model"
    models.mkdir()
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    made_models.put(trainer_python, sd_scripts, "sd15", models)
    listed = write(tmp_path / "listed", 5, rows=True)
    folder = write(tmp_path / "folder", 4, rows=False)
    own = {"resolution": 128, "batch_size": 3, "flip_aug": True}
    datasets = [{"images": str(listed), "concept": "cat", "options": own}, {"images": str(folder), "concept": "cat"}]
    chosen = (
        f"datasets={json.dumps(datasets)}", f"model={models / 'model.safetensors'}",
        f"args.tokenizer_cache_dir={models / 'tokenizers'}", "args.resolution=64", "args.min_bucket_reso=64",
        "args.max_train_epochs=2", "args.optimizer_type=AdamW", "args.mixed_precision=no", "args.sdpa=true",
        "args.max_data_loader_n_workers=0",
    )  # fmt: skip
    command = (sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / "sd15_lora.yaml"),
               f"--workspace={tmp_path / 'work space'}", *(f"--set={text}" for text in chosen))  # fmt: skip
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = (tmp_path / "work space" / "runs").glob("*/001")
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    assert record["state"] == "succeeded"
    assert record["steps_seen"] == record["steps_planned"] > 2
    assert f"dataset_config={tmp_path / 'work space'}" in " ".join(record["argv"])
