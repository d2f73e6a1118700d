"""A recipe without pictures is planned, and its file of prompts is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.findings import Severity
from kohya_runner.recipe.load import load

ROOT = Path(__file__).parents[2]
RECIPES = ("sd15_leco.yaml", "sd2_leco.yaml", "sdxl_leco.yaml")
TARGET = '[[prompts]]\ntarget = "a cat"\n'


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_without_datasets_is_planned_with_its_steps_and_files(planned, recipe):
    plan = planned(recipe)
    assert [str(found) for found in plan.findings if found.severity is Severity.ERROR] == []
    assert (plan.steps.total, plan.steps.images_per_epoch, plan.steps.epochs) == (500, 0, 1)
    name = recipe.removesuffix(".yaml")
    numbered = [f"{name}-step{step:08d}.safetensors" for step in range(50, 500, 50)]
    assert plan.steps.checkpoints == (*numbered, f"{name}.safetensors")
    assert not [token for token in plan.command.argv if "caption" in token or "data_dir" in token]


def test_a_recipe_that_says_nothing_of_saving_saves_ten_times(planned):
    plan = planned("sdxl_leco.yaml", "args.save_every_n_steps=null", "args.max_train_steps=70")
    assert "--save_every_n_steps=7" in plan.command.argv
    assert len(plan.steps.checkpoints) == 10


def test_datasets_are_asked_for_by_other_methods_and_refused_by_this_one():
    base = ROOT / "recipes" / "sd15_leco.yaml"
    (missing,) = load(base, ("method=lora",), environ={}).findings
    assert (missing.code, missing.message) == ("recipe.missing", "datasets: is missing")
    (refused,) = load(base, ("datasets=[{images: here, concept: a}]",), environ={}).findings
    assert (refused.code, refused.hint) == ("recipe.value", "leave datasets out")


PROBLEMS = {
    "no file": (None, "No such file"),
    "no TOML": ("a cat", "Expected '='"),
    "nothing in it": ("[other]\n", "holds no prompts and no targets"),
    "no target": ('[[prompts]]\npositive = "a"\n', "prompts 1: target is missing"),
    "a misspelt key": (TARGET + "guidance = 2\n", "there is no key 'guidance'"),
    "another action": (TARGET + 'action = "delete"\n', "action is delete"),
    "a number as text": (TARGET + 'weight = "heavy"\n', "weight must be a number"),
    "an empty batch": (TARGET + "batch_size = 0\n", "batch_size is below 1"),
    "three sides": (TARGET + "resolution = [1, 2, 3]\n", "resolution is [1, 2, 3]"),
    "an odd side": (TARGET + "resolution = 500\n", "multiples of 64"),
    "a slider of nothing": ('[[targets]]\ntarget_class = "a"\n', "targets 1: a slider needs positive or negative"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_is_wrong_with_a_file_of_prompts_is_said(planned, tmp_path: Path, kind):
    text, said = PROBLEMS[kind]
    file = tmp_path / "my prompts.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    found = [
        one for one in planned("sd15_leco.yaml", f"args.prompts_file={file}").findings if one.code.endswith("_file")
    ]
    assert [said in one.message for one in found] == [True]
    assert str(file) in found[0].message
    assert found[0].hint or kind == "no file"


GOOD = {
    "prompts": (TARGET + 'action = "enhance"\nresolution = [512, 768]\n', ["512x768"]),
    "a slider": ('[[targets]]\ntarget_class = "a"\npositive = "big"\nnegative = "small"\n', ["512x512"]),
    "a table": ('[slider]\ntarget_class = "a"\npositive = "big"\nresolution = 768\n', ["768x768"]),
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_form_of_prompts_is_read(planned, tmp_path: Path, kind):
    text, sizes = GOOD[kind]
    file = tmp_path / "p.toml"
    file.write_text(text, encoding="utf-8")
    plan = planned("sd15_leco.yaml", f"args.prompts_file={file}")
    assert [one for one in plan.findings if "prompts" in one.code] == []
    assert [f"{bucket.width}x{bucket.height}" for bucket in plan.steps.buckets] == sizes


def test_a_key_of_a_slider_that_is_passed_over_is_a_warning(planned, tmp_path: Path):
    file = tmp_path / "p.toml"
    file.write_text('[[targets]]\ntarget_class = "a"\npositive = "big"\nnegativ = "small"\n', encoding="utf-8")
    (found,) = [one for one in planned("sd15_leco.yaml", f"args.prompts_file={file}").findings if "prompts" in one.code]
    assert (found.code, found.severity) == ("args.prompts_unread", Severity.WARNING)
    assert "negative" in found.hint
