from __future__ import annotations

import json
from pathlib import Path

import pytest
from edit_plans import dataset, edits, errors
from PIL import Image

from kohya_runner.commands.cli import main
from kohya_runner.plan.report import plan_json, rows


def exit_code(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


@pytest.mark.parametrize(
    "recipe", ["sd15_controlnet.yaml", "sdxl_controlnet.yaml", "sdxl_lllite.yaml", "flux_controlnet.yaml"]
)
def test_one_metadata_file_is_a_dataset_of_every_trainer_of_pairs(planned, odd_path, recipe):
    plan = planned(recipe, edits(dataset(odd_path / "my edits")))
    assert errors(plan) == []
    words = dict(token.split("=", 1) for token in plan.command.argv if "=" in token)
    assert words["--train_data_dir"] == str(plan.layout.tree / "1_pairs" / "target")
    assert words["--conditioning_data_dir"] == str(plan.layout.tree / "1_pairs" / "control")
    assert words["--caption_extension"] == ".txt"
    assert plan.steps.images_per_epoch == 3
    assert plan_json(plan)["dataset"]["conditions"] == 3
    assert plan_json(plan)["dataset"]["captions"] == 3
    shown = [text for _, text in rows(plan)]
    assert any(text.startswith("3 edit pairs   1_pairs   ") for text in shown)
    assert any(text.startswith("3 inputs, 0 of them resized") for text in shown)


def test_nothing_is_written_by_a_plan(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    planned("sdxl_controlnet.yaml", edits(metadata))
    assert not (odd_path / "ws").exists()


def test_another_size_is_no_error_because_the_layout_makes_it_one(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    Image.effect_noise((128, 128), 90).convert("RGB").save(metadata.parent / "inputs" / "001.png")
    plan = planned("sdxl_controlnet.yaml", edits(metadata))
    assert errors(plan) == []
    assert [f.code for f in plan.findings if f.code.startswith("image.edit")] == ["image.edit_size"]
    assert any(text.startswith("3 inputs, 1 of them resized") for _, text in rows(plan))


def test_another_shape_is_an_error_that_can_be_allowed(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    Image.effect_noise((128, 64), 90).convert("RGB").save(metadata.parent / "inputs" / "001.png")
    assert [text.partition(":")[0] for text in errors(planned("sdxl_lllite.yaml", edits(metadata)))] == [
        "image.edit_aspect"
    ]
    assert planned("sdxl_lllite.yaml", edits(metadata), allow=("image.edit_aspect",)).ok


def test_a_fault_of_a_row_is_told_beside_those_of_the_recipe(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    (metadata.parent / "inputs" / "001.png").unlink()
    plan = planned("sdxl_controlnet.yaml", edits(metadata), "args.lerning_rate=1")
    (missing,) = [f for f in plan.findings if f.code == "dataset.edit_missing"]
    assert missing.where == f"{metadata}:2:17"
    assert [text.partition(":")[0] for text in errors(plan)] == ["args.unknown", "dataset.edit_missing"]


def test_faults_of_rows_are_told_of_a_recipe_that_is_wrong_itself(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    (metadata.parent / "inputs" / "001.png").unlink()
    plan = planned("sdxl_controlnet.yaml", edits(metadata), "mehtod=lora")
    assert [text.partition(":")[0] for text in errors(plan)] == ["recipe.unknown_key", "dataset.edit_missing"]


def test_promises_about_captions_hold_for_instructions(planned, odd_path):
    entry = {"images": str(dataset(odd_path / "my edits")), "concept": "pairs", "captions": {"starts_with": "paint"}}
    plan = planned("sdxl_controlnet.yaml", f"datasets={json.dumps([entry | {'expect': 4}])}")
    assert {text.partition(":")[0] for text in errors(plan)} == {"caption.starts_with", "dataset.count"}


def test_a_method_of_pictures_with_captions_refuses_edits(planned, odd_path):
    plan = planned("sd15_lora.yaml", edits(dataset(odd_path / "my edits")))
    (finding,) = [f for f in plan.findings if f.code == "recipe.method"]
    assert finding.message == "method: lora trains on pictures with captions, and this dataset holds edits"
    assert "sdxl lllite" in finding.hint


def test_an_edit_dataset_brings_its_own_condition_images(planned, odd_path):
    entry = {"images": str(dataset(odd_path / "my edits")), "concept": "pairs", "conditioning": str(odd_path)}
    plan = planned("sd15_controlnet.yaml", f"datasets={json.dumps([entry])}")
    assert errors(plan) == ["recipe.method: an edit dataset brings its own condition images: the input of each row"]


def test_edits_and_folders_are_not_mixed(planned, odd_path, pictures):
    both = [
        {"images": str(dataset(odd_path / "my edits")), "concept": "pairs"},
        {"images": str(pictures(3)), "conditioning": str(pictures(3, name="edges")), "concept": "pairs"},
    ]
    plan = planned("sd15_controlnet.yaml", f"datasets={json.dumps(both)}")
    assert any(text.startswith("recipe.method: edit datasets and folders cannot be mixed") for text in errors(plan))


def test_repeats_of_edits_are_refused_where_the_trainer_has_none(planned, odd_path):
    entry = {"images": str(dataset(odd_path / "my edits")), "concept": "pairs", "repeats": 3}
    assert errors(planned("sd15_controlnet.yaml", f"datasets={json.dumps([entry])}")) == [
        "recipe.method: repeats: 3: ControlNet shows each picture once an epoch (library/config_util.py:673)"
    ]


def test_two_edit_datasets_become_one(planned, odd_path):
    both = [{"images": str(dataset(odd_path / name)), "concept": "pairs"} for name in ("one", "two")]
    plan = planned("sd15_controlnet.yaml", f"datasets={json.dumps(both)}")
    assert errors(plan) == []
    assert [folder.images for folder in plan.layout.folders] == [6]


def test_captions_of_single_pictures_in_a_metadata_file_are_not_taken_for_edits(planned, odd_path):
    metadata = dataset(odd_path / "my edits")
    metadata.write_text('{"image": "inputs/001.png", "caption": "a cat"}\n', encoding="utf-8")
    assert errors(planned("sd15_lora.yaml", edits(metadata))) == []


def test_dataset_check_takes_a_recipe_or_the_file_itself(odd_path, capsys, monkeypatch):
    metadata = dataset(odd_path / "my edits")
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "ws"))
    assert exit_code("dataset", "check", str(metadata)) == 0
    said = capsys.readouterr().out
    assert f"{metadata}: 3 edit pairs, 64x64 (3)" in said
    assert "6 images decoded, 0 known from the cache" in said
    (metadata.parent / "inputs" / "001.png").unlink()
    recipe = str(Path(__file__).parents[2] / "recipes" / "sdxl_lllite.yaml")
    assert exit_code("dataset", "check", recipe, "--json", "--set", edits(metadata)) == 6
    said = json.loads(capsys.readouterr().out)
    assert [(f["code"], f["where"]) for f in said["findings"] if f["severity"] == "error"] == [
        ("dataset.edit_missing", f"{metadata}:2:17")
    ]
    assert len(said["images"]) == 2


def test_a_file_of_edits_that_is_not_there_is_told_without_a_guess_about_its_rows(planned, odd_path):
    for recipe in ("flux_kontext_lora.yaml", "sd15_instruct_pix2pix.yaml", "sd15_controlnet.yaml"):
        said = errors(planned(recipe, edits(odd_path / "not there" / "metadata.jsonl")))
        assert said[0].startswith("dataset.missing: ")
        assert not any(line.startswith(("recipe.method", "dataset.row")) for line in said)
