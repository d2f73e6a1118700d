"""Plans of musubi-tuner: three commands, a dataset config, caches that no other data can use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.engines.table import options_for
from kohya_runner.findings import Severity
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.plan.report import plan_json

KONTEXT, KLEIN = "flux_kontext_lora.yaml", "flux2_klein_lora.yaml"


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def images(path: Path) -> str:
    return f"datasets.0.images={json.dumps(str(path))}"


def datasets(*entries: dict) -> str:
    options = {"resolution": 64, "enable_bucket": True}
    return "datasets=" + json.dumps([{"concept": "cat", "options": options} | entry for entry in entries])


def config(plan) -> list[dict]:
    (file,) = plan.files
    assert file.text.isascii()
    return json.loads(file.text)["datasets"]


def scripts(plan) -> list[str]:
    return [next(t.rpartition("/")[2] for t in c["argv"] if t.endswith(".py")) for c in plan_json(plan)["commands"]]


@pytest.mark.parametrize("recipe", [KONTEXT, KLEIN, "flux2_dev_lora.yaml"])
def test_two_stages_come_before_the_training_and_every_parser_takes_its_command(planned, edit_pairs, recipe):
    plan = planned(recipe, images(edit_pairs(3)))
    assert errors(plan) == []
    prefix = "flux_kontext" if recipe == KONTEXT else "flux_2"
    ends = ("cache_latents", "cache_text_encoder_outputs", "train_network")
    assert scripts(plan) == [f"{prefix}_{end}.py" for end in ends]
    assert [stage.phase for stage in plan.stages] == ["caching latents", "caching text encoder outputs"]
    for command, script in zip(plan.commands, scripts(plan), strict=True):
        read = argparse_parser(options_for(script, None)).parse_args(list(command.argv[2:]))
        assert str(read.dataset_config) == str(plan.files[0].path)


def test_what_fails_late_is_always_passed(planned, edit_pairs):
    plan = planned(KONTEXT, images(edit_pairs(3)), "args.optimizer_type=null", "args.seed=null", "args.sdpa=null",
                   "args.mixed_precision=null")  # fmt: skip
    assert errors(plan) == []
    assert {"--optimizer_type=AdamW", "--mixed_precision=bf16", "--seed=42", "--sdpa"} <= set(plan.command.argv)
    named = {t.partition("=")[0] for t in plan.command.argv}
    assert {"--output_dir", "--output_name", "--network_module", "--save_every_n_epochs"} <= named


def test_the_config_names_target_control_and_cache_of_the_laid_out_pairs(planned, edit_pairs):
    plan = planned(KONTEXT, images(edit_pairs(3)), "datasets.0.repeats=5", "datasets.0.options.batch_size=2")
    (only,) = config(plan)
    folder = plan.layout.tree / "5_pairs"
    assert only == {
        "image_directory": str(folder / "target"), "control_directory": str(folder / "control"),
        "cache_directory": str(plan.layout.root / f"cache-{plan.layout.key}" / "5_pairs"),
        "caption_extension": ".txt", "num_repeats": 5, "batch_size": 2, "enable_bucket": True,
        "resolution": [1024, 1024],
    }  # fmt: skip
    assert plan.steps.images_per_epoch == 15
    assert plan.steps.batches_per_epoch == 8


def test_pictures_with_and_without_controls_are_datasets_of_flux2(planned, pictures):
    plain, seen, before = (pictures(3, (64, 64), name=name) for name in ("plain", "seen", "before"))
    other = {"images": str(seen), "conditioning": str(before), "concept": "dog", "repeats": 2}
    plan = planned(KLEIN, datasets({"images": str(plain)}, other))
    assert errors(plan) == []
    cat, dog = config(plan)
    assert "control_directory" not in cat
    assert (dog["image_directory"], dog["control_directory"]) == (
        str(plan.layout.tree / "train" / "2_dog"), str(plan.layout.tree / "conditions" / "2_dog"),
    )  # fmt: skip
    assert plan.steps.images_per_epoch == 9


def test_kontext_needs_a_control_for_every_picture(planned, pictures):
    folder = pictures(3, (64, 64))
    assert "trains with condition images" in errors(planned(KONTEXT, datasets({"images": str(folder)})))[0]


def test_a_picture_without_a_caption_is_an_error_because_the_trainer_leaves_it_out(planned, pictures):
    folder = pictures(3, (64, 64))
    (folder / "lad_001.txt").unlink()
    plan = planned(KLEIN, datasets({"images": str(folder)}))
    assert [e.partition(":")[0] for e in errors(plan)] == ["caption.missing"]
    assert plan.steps.images_per_epoch == 2


@pytest.mark.parametrize(
    "change",
    [
        "datasets.0.options.resolution=512", "datasets.0.options.no_resize_control=true",
        "datasets.0.options.control_resolution=512", "components.text_encoder=/other.safetensors",
        "components.vae=/other.safetensors", "args.model_version=klein-base-9b", "args.vae_dtype=bfloat16",
        "args.fp8_text_encoder=true",
    ],
)  # fmt: skip
def test_whatever_changes_a_cache_gets_caches_of_its_own(planned, edit_pairs, change):
    metadata = images(edit_pairs(3))
    assert planned(KLEIN, metadata).layout.key != planned(KLEIN, metadata, change).layout.key


@pytest.mark.parametrize(
    "change",
    ["datasets.0.options.batch_size=4", "args.learning_rate=1e-5", "args.model_version=klein-4b", "args.network_dim=8"],
)
def test_what_no_cache_depends_on_keeps_them(planned, edit_pairs, change):
    metadata = images(edit_pairs(3))
    assert planned(KLEIN, metadata).layout.key == planned(KLEIN, metadata, change).layout.key


def test_another_picture_or_instruction_gets_caches_of_its_own(planned, edit_pairs):
    metadata = edit_pairs(3)
    first = planned(KLEIN, images(metadata)).layout.key
    metadata.write_text(metadata.read_text().replace("make it number 1", "make it number 9"))
    assert planned(KLEIN, images(metadata)).layout.key != first


def test_a_batch_size_makes_another_run_of_it(planned, edit_pairs):
    metadata = images(edit_pairs(3))
    again = planned(KLEIN, metadata, "datasets.0.options.batch_size=2")
    assert planned(KLEIN, metadata).fingerprint != again.fingerprint


@pytest.mark.parametrize(
    ("option", "code", "hint"),
    [
        ("num_repeats=3", "recipe.unknown_key", "repeats:"),
        ("train_batch_size=3", "recipe.unknown_key", "batch_size"),
        ("enable_buckett=true", "recipe.unknown_key", "enable_bucket"),
        ("resolution=big", "recipe.value", ""),
        ("resolution=8", "recipe.value", ""),
        ("batch_size=0", "recipe.value", ""),
        ("batch_size=true", "recipe.value", ""),
        ("enable_bucket=1", "recipe.value", ""),
        ("resolution=null", "args.missing", "resolution: 1024"),
    ],
)
def test_options_of_a_dataset_are_checked(planned, edit_pairs, option, code, hint):
    plan = planned(KONTEXT, images(edit_pairs(3)), f"datasets.0.options.{option}")
    found = [f for f in plan.findings if f.severity is Severity.ERROR]
    assert [f.code for f in found] == [code]
    assert hint in found[0].hint


def test_entries_of_one_folder_must_agree(planned, pictures):
    one, two = (str(pictures(2, (64, 64), name=name)) for name in ("one", "two"))
    other = {"images": two, "options": {"resolution": 128}}
    assert "whose folder 1_cat it shares" in errors(planned(KLEIN, datasets({"images": one}, other)))[0]


@pytest.mark.parametrize("name", ["resolution", "train_batch_size", "dataset_config", "dit", "text_encoder1", "vae"])
def test_what_the_runner_sets_is_refused_with_the_place_for_it(planned, edit_pairs, name):
    plan = planned(KONTEXT, images(edit_pairs(3)), f"args.{name}=x")
    (found,) = [f for f in plan.findings if f.severity is Severity.ERROR]
    assert found.code == "args.owned"
    assert found.hint


def test_a_run_that_may_be_continued_saves_states(planned, edit_pairs):
    plan = planned(KONTEXT, images(edit_pairs(3)), resume=True)
    assert errors(plan) == []
    assert {"--save_state", "--save_last_n_epochs_state=2"} <= set(plan.command.argv)


def test_small_art_is_told_of_what_this_trainer_can_do(planned, edit_pairs):
    plan = planned(KONTEXT, images(edit_pairs(3, (32, 32))), "datasets.0.options.resolution=512")
    (found,) = [f for f in plan.findings if f.code == "image.blurred"]
    assert found.hint.startswith("enlarge them yourself by a whole factor")


def test_the_sizes_are_those_of_the_variant(planned, edit_pairs):
    metadata = images(edit_pairs(3))
    sizes = [
        next(i.bytes for use in planned(KLEIN, metadata, f"args.model_version={v}").disk.uses for i in use.items
             if i.what == "checkpoints")
        for v in ("klein-base-4b", "klein-base-9b", "dev")
    ]  # fmt: skip
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 4
