from __future__ import annotations

import json

import pytest
from PIL import Image

from kohya_runner.findings import Severity
from kohya_runner.plan.report import plan_json, rows


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def images(index: int, folder) -> str:
    return f"datasets.{index}.images={json.dumps(str(folder))}"


def condition(folder) -> str:
    return f"datasets.0.conditioning={json.dumps(str(folder))}"


def test_a_controlnet_without_condition_images_is_refused(planned, pictures):
    plan = planned("sd15_controlnet.yaml", images(0, pictures(3)), "datasets.0.conditioning=null")
    assert errors(plan)[0].startswith("recipe.method: train_control_net.py trains with condition images")


def test_condition_images_of_a_method_that_has_none_are_refused(planned, pictures):
    plan = planned("sd15_lora.yaml", images(0, pictures(3)), condition(pictures(3, name="edges")))
    assert errors(plan) == ["recipe.method: method: lora uses no condition images"]


def test_a_controlnet_reads_two_flat_folders(planned, pictures):
    plan = planned("sd15_controlnet.yaml", images(0, pictures(3)), condition(pictures(3, name="edges")))
    assert errors(plan) == []
    words = dict(token.split("=", 1) for token in plan.command.argv if "=" in token)
    assert words["--train_data_dir"].endswith("/train/1_pairs")
    assert words["--conditioning_data_dir"].endswith("/conditions/1_pairs")
    assert not any(word.startswith("--network") for word in words)
    assert plan_json(plan)["dataset"]["conditions"] == 3
    assert any("3 condition images" in text for _, text in rows(plan))


def test_repeats_of_a_controlnet_are_refused(planned, pictures):
    plan = planned("sd15_controlnet.yaml", images(0, pictures(3)), condition(pictures(3, name="edges")),
                   "datasets.0.repeats=10")  # fmt: skip
    assert errors(plan) == [
        "recipe.method: repeats: 10: ControlNet shows each picture once an epoch (library/config_util.py:673)"
    ]


def test_condition_images_of_another_size_are_refused_where_the_trainer_refuses_them(planned, pictures, odd_path):
    edges = pictures(3, name="edges")
    Image.new("RGB", (32, 24)).save(edges / "lad_001.png")
    plan = planned("sdxl_controlnet.yaml", images(0, pictures(3)), condition(edges))
    assert [text.partition(":")[0] for text in errors(plan)] == ["image.pair_size"]


def test_class_images_are_refused_where_the_script_reads_none(planned, pictures):
    plan = planned("sd15_finetune.yaml", images(0, pictures(3)), "datasets.0.regularization=true")
    assert "recipe.method: fine_tune.py reads no class images" in errors(plan)


def test_fine_tune_gets_its_metadata_file_and_its_repeats(planned, pictures):
    plan = planned("sd15_finetune.yaml", images(0, pictures(3)), "datasets.0.repeats=4")
    words = dict(token.split("=", 1) for token in plan.command.argv if "=" in token)
    assert words["--in_json"].endswith("/metadata.json")
    assert words["--dataset_repeats"] == "4"
    assert plan.steps.images_per_epoch == 12


def test_different_repeats_cannot_be_one_metadata_file(planned, pictures):
    both = [{"images": str(pictures(3, name=name)), "concept": name, "repeats": n} for name, n in (("a", 1), ("b", 2))]
    plan = planned("sd15_finetune.yaml", f"datasets={json.dumps(both)}")
    assert errors(plan) == [
        "recipe.method: fine_tune.py repeats all pictures alike, and the datasets have different repeats"
    ]


def test_dreambooth_lays_class_images_beside_the_subject(planned, pictures):
    plan = planned("sd15_dreambooth.yaml", images(0, pictures(3)), images(1, pictures(4, name="dogs")))
    assert errors(plan) == []
    assert any(token.startswith("--reg_data_dir=") for token in plan.command.argv)
    assert plan.steps.regularization_images == 4


def test_pictures_of_a_dreambooth_need_no_captions(planned, pictures):
    folder = pictures(3)
    for caption in folder.glob("*.txt"):
        caption.unlink()
    plan = planned("sd15_dreambooth.yaml", images(0, folder), images(1, pictures(4, name="dogs")))
    assert errors(plan) == []
    lora = planned("sd15_lora.yaml", images(0, folder))
    assert [text.partition(":")[0] for text in errors(lora)] == ["caption.missing"]


def test_a_pair_without_a_caption_would_have_an_empty_prompt(planned, pictures):
    folder = pictures(3)
    (folder / "lad_001.txt").unlink()
    plan = planned("sd15_controlnet.yaml", images(0, folder), condition(pictures(3, name="edges")))
    (finding,) = [f for f in plan.findings if f.code == "caption.missing"]
    assert finding.hint == "the trainer would train them with an empty prompt"


def test_one_caption_missing_among_others_is_a_fault_everywhere(planned, pictures):
    folder = pictures(3)
    (folder / "lad_001.txt").unlink()
    plan = planned("sd15_dreambooth.yaml", images(0, folder), images(1, pictures(4, name="dogs")))
    assert [text.partition(":")[0] for text in errors(plan)] == ["caption.missing"]


def test_an_embedding_needs_its_word(planned, pictures):
    plan = planned("sd15_textual_inversion.yaml", images(0, pictures(3)), "args.token_string=null")
    assert errors(plan) == ["args.missing: args.token_string is missing: train_textual_inversion.py stops without it"]


def test_captions_without_the_word_are_told(planned, pictures):
    plan = planned("sd15_textual_inversion.yaml", images(0, pictures(3)), "args.use_object_template=false")
    assert "caption.token" in [f.code for f in plan.findings if f.severity is Severity.WARNING]


def test_checkpoints_are_safetensors_where_the_trainer_would_write_another_kind(planned, pictures):
    plan = planned("sd15_textual_inversion.yaml", images(0, pictures(3)), "args.save_model_as=null")
    assert plan_json(plan)["checkpoints"][-1] == "sd15_textual_inversion.safetensors"
    assert "--save_model_as=safetensors" in plan.command.argv


def test_folders_of_diffusers_have_no_suffix(planned, pictures):
    plan = planned("sdxl_finetune.yaml", images(0, pictures(3)), "args.save_model_as=diffusers")
    assert plan_json(plan)["checkpoints"][-1] == "sdxl_finetune"


@pytest.mark.parametrize("name", ["dataset_repeats: 3", "use_safetensors: true", "conditioning_data_dir: x"])
def test_what_the_runner_decides_cannot_be_set_twice(planned, pictures, name):
    option, value = name.split(": ")
    plan = planned("sd15_controlnet.yaml" if "data" in option else "sdxl_finetune.yaml", images(0, pictures(3)),
                   condition(pictures(3, name="edges")) if "data" in option else "name=x",
                   f"args.{option}={value}")  # fmt: skip
    assert f"args.owned: args.{option}: is set by the runner" in errors(plan)


@pytest.mark.parametrize(
    "recipe", ["sdxl_finetune.yaml", "sd15_lora.yaml", "sd15_finetune.yaml", "flux_dreambooth.yaml"]
)
def test_a_metadata_file_stands_for_a_folder_and_captions(planned, pictures, odd_path, recipe):
    folder = pictures(4)
    listed = [{"file_name": f"lad_{index:03d}.png", "text": "a lad"} for index in range(3)]
    path = folder / "metadata.jsonl"
    path.write_text("\n".join(map(json.dumps, listed)), encoding="utf-8")
    more = [images(1, pictures(2, name="class"))] if "dreambooth" in recipe else []
    plan = planned(recipe, images(0, path), "datasets.0.repeats=1", *more)
    assert errors(plan) == []
    assert plan_json(plan)["dataset"]["images"] == 3 + 2 * len(more)
    assert plan.steps.images_per_epoch == 3


def test_a_metadata_file_with_wrong_rows_is_named_with_the_rows(planned, pictures):
    path = pictures(1) / "metadata.json"
    path.write_text('[{"image": "lad_000.png", "text": "a"}, {"image": "/etc/passwd.png"}]', encoding="utf-8")
    plan = planned("sd15_lora.yaml", images(0, path))
    assert errors(plan) == ["dataset.row: leads out of the folder of the metadata file: /etc/passwd.png"]
    assert [f.where for f in plan.findings if f.code == "dataset.row"] == [f"{path}:1:41"]


def test_a_metadata_file_of_a_controlnet_is_refused(planned, pictures):
    path = pictures(1) / "metadata.json"
    path.write_text('[{"image": "lad_000.png", "text": "a"}]', encoding="utf-8")
    plan = planned("sd15_controlnet.yaml", images(0, path), condition(pictures(1, name="edges")))
    assert "recipe.method: train_control_net.py pairs two folders of pictures, and this is a metadata file" in errors(
        plan
    )


def test_triples_of_an_edit_are_refused_where_nothing_is_edited(planned, pictures):
    path = pictures(1) / "metadata.jsonl"
    path.write_text('{"input_image": "a.png", "instruction": "red", "output_image": "b.png"}', encoding="utf-8")
    said = errors(planned("sd15_lora.yaml", images(0, path)))
    assert any("trains on pictures with captions, and this dataset holds edits" in line for line in said)
