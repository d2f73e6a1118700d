"""Krea 2, Z-Image, Qwen-Image and Qwen-Image-Edit: what a plan makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.engines.table import options_for
from kohya_runner.findings import Severity
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.plan.report import plan_json

SCRIPTS = {"krea2": "krea2", "z_image": "zimage", "qwen_image": "qwen_image", "qwen_image_edit": "qwen_image"}
EDIT = "qwen_image_edit_lora.yaml"


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def images(path: Path) -> str:
    return f"datasets.0.images={json.dumps(str(path))}"


def with_second_input(metadata: Path) -> Path:
    """The first row gets a second input, which is another row's."""
    rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
    rows[0]["input_image"] = [rows[0]["input_image"], rows[1]["input_image"]]
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return metadata


@pytest.mark.parametrize("method", ["lora", "finetune"])
@pytest.mark.parametrize("family", SCRIPTS)
def test_every_parser_takes_its_command(family, method, planned, pictures, edit_pairs):
    if (family, method) == ("krea2", "finetune"):
        return
    data = edit_pairs(3) if family == "qwen_image_edit" else pictures(3)
    plan = planned(f"{family}_{method}.yaml", images(data))
    assert errors(plan) == []
    scripts = [next(t.rpartition("/")[2] for t in c["argv"] if t.endswith(".py")) for c in plan_json(plan)["commands"]]
    train = "train_network" if method == "lora" else "train"
    ends = ("cache_latents", "cache_text_encoder_outputs", train)
    assert scripts == [f"{SCRIPTS[family]}_{end}.py" for end in ends]
    for command, script in zip(plan.commands, scripts, strict=True):
        argparse_parser(options_for(script, None)).parse_args(list(command.argv[2:]))


def test_the_variant_is_told_to_every_stage(planned, edit_pairs):
    plan = planned(EDIT, images(edit_pairs(3)), "args.model_version=edit-2509")
    assert all("--model_version=edit-2509" in command.argv for command in plan.commands)


def test_a_variant_that_reads_captions_otherwise_has_caches_of_its_own(planned, edit_pairs):
    metadata = images(edit_pairs(3))
    assert planned(EDIT, metadata).layout.key != planned(EDIT, metadata, "args.model_version=edit").layout.key
    assert planned(EDIT, metadata).layout.key != planned(EDIT, metadata, "args.fp8_vl=true").layout.key


def test_the_variant_must_be_named(planned, edit_pairs):
    assert "args.model_version is missing" in errors(planned(EDIT, images(edit_pairs(3)), "args.model_version=null"))[0]


@pytest.mark.parametrize("family", ["krea2", "z_image", "qwen_image"])
def test_a_family_that_does_not_edit_takes_no_pairs_and_no_control_images(family, planned, pictures, edit_pairs):
    assert "this dataset holds edits" in errors(planned(f"{family}_lora.yaml", images(edit_pairs(3))))[0]
    plan = planned(f"{family}_lora.yaml", images(pictures(3)), f"datasets.0.conditioning={pictures(3, name='before')}")
    assert errors(plan)[0].startswith("recipe.method")


def test_a_second_input_lies_beside_the_first_and_makes_a_batch_of_its_own(planned, edit_pairs):
    plan = planned(EDIT, images(with_second_input(edit_pairs(3))), "datasets.0.options.batch_size=3")
    assert errors(plan) == []
    (controls,) = plan.layout.conditions
    assert [entry.name for entry in controls.entries] == ["000001.png", "000001_1.png", "000002.png", "000003.png"]
    assert plan.steps.batches_per_epoch == 2


@pytest.mark.parametrize(
    ("recipe", "change"), [(EDIT, "args.model_version=edit"), ("flux_kontext_lora.yaml", "args.seed=1")]
)
def test_a_second_input_is_refused_where_one_is_read(recipe, change, planned, edit_pairs):
    (found,) = errors(planned(recipe, images(with_second_input(edit_pairs(3))), change))
    assert found.startswith("dataset.edit_several: 1 row with several inputs")


def test_an_input_of_a_list_that_is_not_there_is_told_where_it_stands(planned, edit_pairs):
    metadata = edit_pairs(3)
    text = metadata.read_text(encoding="utf-8").replace('"before 001.png"', '["before 001.png", "before 01.png"]')
    metadata.write_text(text, encoding="utf-8")
    (found,) = [f for f in planned(EDIT, images(metadata)).findings if f.severity is Severity.ERROR]
    assert (found.code, found.where.rpartition("jsonl:")[2].partition(":")[0]) == ("dataset.edit_missing", "2")
    assert "before 001.png" in found.hint


def test_a_larger_batch_of_a_dataset_needs_more_memory(planned, pictures):
    data = images(pictures(3))
    one, four = (planned("krea2_lora.yaml", data, f"datasets.0.options.batch_size={n}") for n in (1, 4))
    assert plan_json(four)["memory"]["vram"]["needed_bytes"] > 1.3 * plan_json(one)["memory"]["vram"]["needed_bytes"]


def test_whole_models_are_saved_in_the_precision_that_they_are_trained_in(planned, pictures):
    def checkpoints(*changes: str) -> int:
        plan = planned("z_image_finetune.yaml", images(pictures(3)), *changes)
        return next(i.bytes for use in plan.disk.uses for i in use.items if i.what == "checkpoints")

    told = planned("z_image_finetune.yaml", images(pictures(3)), "args.seed=null")
    assert {"network_dim", "save_precision"} & {name for name, _, _ in told.left_open} == set()
    half = checkpoints()
    assert checkpoints("args.full_bf16=false") > 1.9 * half
    assert checkpoints("args.full_bf16=false", "args.save_precision=bf16") > 1.9 * half
