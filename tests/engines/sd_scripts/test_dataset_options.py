"""``datasets[].options``: a dataset file where there are any, folders where there are none; steps and findings."""

from __future__ import annotations

import json

import pytest

from kohya_runner.dataset.tree_build import build
from kohya_runner.engines.sd_scripts.dataset_config import KEYS
from kohya_runner.engines.table import options_for
from kohya_runner.findings import Severity
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.plan.report import plan_json
from kohya_runner.practice.sd_scripts import batching_of, read_folders, steps_of

BUCKETS = ("args.resolution=64", "args.min_bucket_reso=64", "args.train_batch_size=2", "datasets.0.repeats=1")


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def dataset(folder, **more) -> str:
    return json.dumps({"images": str(folder), "concept": "lad", "repeats": 1, **more})


def two(pictures, first: dict, second: dict, counts=(3, 4)) -> str:
    folders = [pictures(count, (64, 64), name=f"set {count}") for count in counts]
    return f"datasets=[{dataset(folders[0], options=first)}, {dataset(folders[1], options=second)}]"


def test_without_options_the_folders_say_it_all(planned, pictures):
    plan = planned("sd15_lora.yaml", two(pictures, {}, {}), *BUCKETS)
    assert errors(plan) == []
    assert not any(token.startswith("--dataset_config") for token in plan.command.argv)
    assert plan.layout.config == ""


def test_with_options_there_is_a_dataset_file_and_no_folder_option(planned, pictures):
    plan = planned("sd15_lora.yaml", two(pictures, {"flip_aug": True, "caption_prefix": "é"}, {}), *BUCKETS)
    assert errors(plan) == []
    words = dict(token.split("=", 1) for token in plan.command.argv if "=" in token)
    assert words["--dataset_config"] == str(plan.layout.config_file)
    assert not {"--train_data_dir", "--reg_data_dir"} & set(words)
    assert plan.layout.config.isascii()
    (made,) = json.loads(plan.layout.config)["datasets"]
    assert [subset.get("caption_prefix") for subset in made["subsets"]] == [None, "é"]


def test_folders_of_one_name_with_other_options_lie_apart(planned, pictures):
    plan = planned("sd15_lora.yaml", two(pictures, {"flip_aug": True}, {}), *BUCKETS)
    (made,) = json.loads(plan.layout.config)["datasets"]
    assert [(s["num_repeats"], s["class_tokens"], s.get("flip_aug")) for s in made["subsets"]] == [
        (1, "lad", None), (1, "lad", True)
    ]  # fmt: skip
    assert len({s["image_dir"] for s in made["subsets"]}) == 2
    assert all(s["image_dir"].endswith("/1_lad") for s in made["subsets"])


def test_each_dataset_with_its_own_resolution_and_batch_has_its_own_buckets_and_batches(planned, pictures):
    own = {"resolution": 128, "batch_size": 4, "min_bucket_reso": 128}
    plan = planned("sd15_lora.yaml", two(pictures, own, {}, counts=(5, 3)), *BUCKETS)
    assert errors(plan) == []
    assert plan.steps.batches_per_epoch == 2 + 2  # 5 by 4, 3 by 2
    assert [(b.width, b.height, b.images) for b in plan.steps.buckets] == [(64, 64, 3), (128, 128, 5)]
    assert plan_json(plan)["steps"]["images_per_epoch"] == 8
    assert [d.get("resolution") for d in json.loads(plan.layout.config)["datasets"]] == [None, [128, 128]]


def test_a_key_that_there_is_not_is_named_with_its_place_and_the_nearest(planned, pictures, odd_path):
    plan = planned("sd15_lora.yaml", two(pictures, {"flip_agu": True, "num_repeats": 3, "train_batch_size": 1}, {}))
    found = {f.message.partition(":")[0]: f for f in plan.findings if f.code == "dataset.options"}
    assert found["datasets.0.options.flip_agu"].hint == "did you mean 'flip_aug'?"
    assert "repeats" in found["datasets.0.options.num_repeats"].hint
    assert "batch_size" in found["datasets.0.options.train_batch_size"].hint
    assert all(f.where for f in found.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"flip_aug": 1}, "must be true or false"),
        ({"batch_size": "2"}, "must be a whole number"),
        ({"batch_size": 0}, "must be 1 or more"),
        ({"keep_tokens": True}, "must be a whole number"),
        ({"resolution": "512x512"}, "is not a size"),
        ({"resize_interpolation": "box"}, "box"),
        ({"face_crop_aug_range": [2, 1]}, "the smaller one first"),
        ({"caption_dropout_rate": "0.1"}, "must be a number"),
        ({"custom_attributes": []}, "must be a mapping"),
    ],
)  # fmt: skip
def test_a_value_that_the_trainer_refuses_is_refused(planned, pictures, options, said):
    (found,) = [f for f in planned("sd15_lora.yaml", two(pictures, options, {}), *BUCKETS).findings
                if f.code == "dataset.options"]  # fmt: skip
    assert said in found.message


def test_dropout_of_one_dataset_is_refused_where_the_script_has_none(planned, pictures):
    plan = planned("sd15_textual_inversion.yaml", two(pictures, {"caption_dropout_rate": 0.1}, {}), *BUCKETS)
    assert any("train_textual_inversion.py has no such option of one dataset" in line for line in errors(plan))


@pytest.mark.parametrize("recipe", ["sd15_finetune.yaml", "sd15_controlnet.yaml"])
def test_a_script_that_gets_one_dataset_takes_no_options_of_one(planned, pictures, recipe):
    plan = planned(recipe, two(pictures, {"flip_aug": True}, {}), *BUCKETS)
    assert any("options of one alone do not reach it" in line for line in errors(plan))


def test_the_rules_between_options_hold_for_the_options_of_one_dataset_too(planned, pictures):
    plan = planned("sd15_lora.yaml", two(pictures, {"random_crop": True}, {}), *BUCKETS)
    (found,) = [f for f in plan.findings if f.code == "args.cached_latents_augmentation"]
    assert found.severity is Severity.ERROR


def test_class_images_with_buckets_of_their_own_are_refused(planned, pictures):
    folders = [pictures(count, (64, 64), name=f"set {count}") for count in (3, 4)]
    texts = [dataset(folders[0]), dataset(folders[1], regularization=True, options={"resolution": 128})]
    plan = planned("sd15_dreambooth.yaml", f"datasets=[{', '.join(texts)}]", *BUCKETS)
    assert any("that no dataset of the subject has" in line for line in errors(plan))


def test_caches_of_a_picture_are_not_taken_over_by_another_datasets_options(planned, pictures):
    keys = {
        planned("sd15_lora.yaml", two(pictures, own, {}), *BUCKETS).layout.key
        for own in ({}, {"resolution": 128}, {"resolution": 192})
    }
    assert len(keys) == 3


def test_memory_is_for_the_largest_dataset(planned, pictures):
    small = planned("sd15_lora.yaml", two(pictures, {"flip_aug": True}, {}), "args.resolution=256")
    large = planned("sd15_lora.yaml", two(pictures, {"resolution": 1024}, {}), "args.resolution=256")
    assert large.forecast.memory.vram.total > small.forecast.memory.vram.total


def test_every_key_has_a_kind():
    assert all(KEYS.values())


def test_the_practice_trainer_counts_a_dataset_file_as_the_plan_does(planned, pictures):
    own = {"resolution": 128, "batch_size": 4, "min_bucket_reso": 128, "flip_aug": True}
    plan = planned("sd15_lora.yaml", two(pictures, own, {}, counts=(5, 3)), *BUCKETS)
    build(plan.layout)
    script = "train_network.py"
    tokens = plan.command.argv[plan.command.argv.index(script) + 1 :]
    args = argparse_parser(options_for(script, None)).parse_args(tokens)
    found = steps_of(read_folders(args), batching_of(args, script))
    assert found.batches_per_epoch == plan.steps.batches_per_epoch
    assert found.buckets == plan.steps.buckets
