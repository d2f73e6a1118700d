from __future__ import annotations

import json
from pathlib import Path

import pytest
from edit_plans import dataset, edits, errors
from PIL import Image

from kohya_runner.dataset.tree_build import build, is_intact
from kohya_runner.engines.diffusers.build import ExampleLength, plan_steps
from kohya_runner.findings import Severity
from kohya_runner.plan.report import plan_json

FINAL = "unet/diffusion_pytorch_model.safetensors"
RECIPES = {"sd15": "sd15_instruct_pix2pix.yaml", "sdxl": "sdxl_instruct_pix2pix.yaml"}


@pytest.mark.parametrize("family", RECIPES)
def test_a_recipe_of_edits_becomes_the_examples_own_command(planned, odd_path, family):
    plan = planned(RECIPES[family], edits(dataset(odd_path / "my edits", count=16)))
    assert errors(plan) == []
    script = "train_instruct_pix2pix.py" if family == "sd15" else "train_instruct_pix2pix_sdxl.py"
    assert any(token.endswith(f"examples/instruct_pix2pix/{script}") for token in plan.command.argv)
    words = dict(token.split("=", 1) for token in plan.command.argv if "=" in token)
    assert words["--train_data_dir"] == str(plan.layout.tree)
    assert words["--output_dir"] == str(plan.run_dir / "output")
    assert words["--seed"] == "42"
    assert not {"--output_name", "--caption_extension", "--conditioning_data_dir"} & set(words)
    assert plan.steps.total == 15000


def test_the_image_folder_names_every_pair_and_repeats_are_rows(planned, odd_path):
    entry = {"images": str(dataset(odd_path / "my edits", count=2)), "concept": "pairs", "repeats": 3}
    plan = planned(RECIPES["sd15"], f"datasets={json.dumps([entry])}")
    build(plan.layout)
    assert is_intact(plan.layout)
    lines = (plan.layout.tree / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[0] == {
        "input_image_file_name": "3_pairs/control/000001.png",
        "edited_image_file_name": "3_pairs/target/000001.png",
        "edit_prompt": "make it number 0",
    }
    assert len(rows) == plan.steps.images_per_epoch == 6
    assert all((plan.layout.tree / row["input_image_file_name"]).is_file() for row in rows)
    assert not build(plan.layout).created


def test_a_changed_instruction_makes_another_tree(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    before = planned(RECIPES["sd15"], edits(metadata)).layout.key
    metadata.write_text(metadata.read_text(encoding="utf-8").replace("number 1", "round"), encoding="utf-8")
    assert planned(RECIPES["sd15"], edits(metadata)).layout.key != before


def test_without_a_seed_the_runner_gives_one(planned, odd_path):
    plan = planned(RECIPES["sd15"], edits(dataset(odd_path / "my edits")), "args.seed=null")
    assert "--seed=42" in plan.command.argv


@pytest.mark.parametrize("model", ["/models/sd15.safetensors", "hf://org/repo/model.safetensors"])
def test_a_model_in_one_file_is_refused(planned, odd_path, model):
    plan = planned(RECIPES["sd15"], edits(dataset(odd_path / "my edits")), f"model={model}")
    (message,) = errors(plan)
    assert message.startswith("model.form: train_instruct_pix2pix.py takes a folder in diffusers' form or a Hub id")


def test_a_folder_of_pictures_is_no_data_for_it(planned, pictures):
    plan = planned(RECIPES["sd15"], f"datasets.0.images={json.dumps(str(pictures(3)))}")
    assert any("trains on edits: an input, an instruction and an output" in text for text in errors(plan))


@pytest.mark.parametrize("option", ["dataset_name=x", "resume_from_checkpoint=latest", "logging_dir=x", "local_rank=1"])
def test_what_the_runner_decides_cannot_be_set(planned, odd_path, option):
    plan = planned(RECIPES["sd15"], edits(dataset(odd_path / "my edits")), f"args.{option}")
    assert [text.partition(":")[0] for text in errors(plan)] == ["args.owned"]


def test_a_run_that_may_be_continued_saves_states_with_its_epochs(planned, odd_path):
    metadata = edits(dataset(odd_path / "my edits"))
    left_open = ("args.max_train_steps=null", "args.checkpointing_steps=null", "args.checkpoints_total_limit=null")
    plan = planned(RECIPES["sd15"], metadata, *left_open, "args.num_train_epochs=4", resume=True)
    assert errors(plan) == []
    assert {f"--checkpointing_steps={plan.steps.steps_per_epoch}", "--checkpoints_total_limit=2"} <= set(
        plan.command.argv
    )
    own = planned(
        RECIPES["sd15"], metadata, "args.checkpointing_steps=2", "args.checkpoints_total_limit=5", resume=True
    )
    assert {"--checkpointing_steps=2", "--checkpoints_total_limit=5"} <= set(own.command.argv)


def test_a_run_that_would_leave_no_state_before_its_end_is_told(planned, odd_path):
    metadata = edits(dataset(odd_path / "my edits"))
    for resume in (True, False):
        plan = planned(RECIPES["sd15"], metadata, "args.max_train_steps=40", resume=resume)
        told = [f.hint for f in plan.findings if f.code == "steps.states"]
        each = plan.steps.steps_per_epoch
        assert told == ([f"write args.checkpointing_steps: {each}, if there is room for the states"] if resume else [])


def test_a_batch_that_is_not_full_is_refused_for_sdxl_alone(planned, odd_path):
    metadata = edits(dataset(odd_path / "my edits"))
    batch = "args.train_batch_size=2"
    assert errors(planned(RECIPES["sd15"], metadata, batch)) == []
    (message,) = errors(planned(RECIPES["sdxl"], metadata, batch))
    assert message.startswith("steps.last_batch: 3 rows in batches of 2 leave 1 for the last")
    assert errors(planned(RECIPES["sdxl"], metadata, batch, "args.max_train_samples=2")) == []
    assert errors(planned(RECIPES["sdxl"], metadata, batch, "args.max_train_steps=1",
                          "args.gradient_accumulation_steps=1")) == []  # fmt: skip
    assert errors(planned(RECIPES["sdxl"], metadata, batch, "launch.num_processes=2")) == []


def test_pictures_that_are_no_squares_are_told(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    for kind in ("inputs", "outputs"):
        Image.effect_noise((96, 64), 90).convert("RGB").save(metadata.parent / kind / "001.png")
    plan = planned(RECIPES["sd15"], edits(metadata))
    found = [f for f in plan.findings if f.code == "image.edit_squeezed"]
    assert [(f.severity, Path(f.where).name) for f in found] == [(Severity.WARNING, "001.png")]


def test_states_and_the_pipeline_have_room_on_the_disk(planned, odd_path):
    said = plan_json(planned(RECIPES["sd15"], edits(dataset(odd_path / "my edits"))))
    assert said["checkpoints"] == [*(f"checkpoint-{n}/{FINAL}" for n in (5000, 10000, 15000)), FINAL]
    sizes = {item["what"]: item["bytes"] for item in said["disk"]["items"]}
    assert 10e9 < sizes["training states"] < 11e9
    assert 4e9 < sizes["checkpoints"] < 5e9


@pytest.mark.parametrize(
    ("rows", "length", "expected"),
    [
        (3, ExampleLength(train_batch_size=2, num_train_epochs=2), (2, 2, 2, 4)),
        (5, ExampleLength(train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=3), (3, 2, 3, 6)),
        (5, ExampleLength(train_batch_size=2, max_train_steps=4), (3, 3, 2, 4)),
        (8, ExampleLength(train_batch_size=2, num_processes=2, num_train_epochs=1), (2, 2, 1, 2)),
        (8, ExampleLength(train_batch_size=2, max_train_samples=3, num_train_epochs=1), (2, 2, 1, 2)),
    ],
)
def test_the_numbers_are_those_of_the_script(rows, length, expected):
    steps, found = plan_steps(rows, length, FINAL)
    assert found == ()
    assert (steps.batches_per_epoch, steps.steps_per_epoch, steps.epochs, steps.total) == expected


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (ExampleLength(train_batch_size=0), "args.train_batch_size"),
        (ExampleLength(checkpointing_steps=0), "args.checkpointing_steps"),
        (ExampleLength(gradient_accumulation_steps=0), "args.gradient_accumulation_steps"),
        (ExampleLength(max_train_samples=4), "args.max_train_samples"),
        (ExampleLength(max_train_steps=0), "steps.none"),
        (ExampleLength(num_train_epochs=10**8), "steps.endless"),
    ],
)
def test_numbers_that_end_the_script_are_told(length, code):
    steps, found = plan_steps(3, length, FINAL)
    assert steps is None
    assert [finding.code for finding in found] == [code]


def test_no_more_states_than_the_limit_lie_there():
    steps, _ = plan_steps(4, ExampleLength(train_batch_size=1, max_train_steps=10, checkpointing_steps=2,
                                    checkpoints_total_limit=2), FINAL)  # fmt: skip
    assert steps.saves.states_kept == ("checkpoint-8", "checkpoint-10")
    assert (steps.saves.most_states, steps.saves.most_checkpoints) == (2, 1)
