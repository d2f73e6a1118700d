"""Inpainting from a recipe on: its base model, the prompts of its samples, the options of one dataset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kohya_runner.engines.painting import Base
from kohya_runner.engines.sd_scripts.painter import painter
from kohya_runner.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SAMPLED = ("args.sample_every_n_epochs=1",)


def codes(plan) -> set[str]:
    return {finding.code for finding in plan.findings}


@pytest.mark.parametrize("recipe", ["sd15_inpaint.yaml", "sdxl_inpaint.yaml"])
def test_the_option_is_set_and_no_latents_are_cached(planned, pictures, recipe):
    plan = planned(recipe, f"datasets.0.images={json.dumps(str(pictures(6)))}")
    assert "--train_inpainting" in plan.command.argv
    assert not [token for token in plan.command.argv if token.startswith("--cache_latents")]


@pytest.mark.parametrize(
    "row",
    [
        ("p.txt", "a cat --w 64\n# no prompt\na dog --i /a b.png --d 1\n", "1"),
        ("p.txt", "a cat --I /a.png\n", ""),
        ("p.json", '["a cat", {"prompt": "a dog", "image": "/a.png"}, {"prompt": "a cow"}]', "2"),
    ],
)
def test_prompts_without_a_picture_are_counted(planned, pictures, tmp_path: Path, row):
    name, text, bare = row
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    plan = planned(
        "sd15_inpaint.yaml", f"datasets.0.images={json.dumps(str(pictures(6)))}",
        f"args.sample_prompts={json.dumps(str(file))}", *SAMPLED,
    )  # fmt: skip
    found = [finding.message for finding in plan.findings if finding.code == "args.inpaint_samples"]
    assert [f": {bare} without a picture" in text for text in found] == [True] * bool(bare)


def test_an_attribute_of_one_dataset_that_asks_without_the_mask_is_an_error(planned, pictures):
    own = 'datasets.0.options={"custom_attributes": {"diff_output_preservation": true}}'
    folder = f"datasets.0.images={json.dumps(str(pictures(6)))}"
    assert "args.inpaint_preserve" in codes(planned("sd15_inpaint.yaml", folder, own))
    assert "args.inpaint_preserve" not in codes(planned("sd15_lora.yaml", folder, own))


def test_a_hub_id_is_an_error_for_sd15_alone(planned, pictures):
    folder = f"datasets.0.images={json.dumps(str(pictures(6)))}"
    model = "model=diffusers/stable-diffusion-inpainting"
    assert "args.inpaint_folder" in codes(planned("sd15_inpaint.yaml", folder, model))
    assert "args.inpaint_folder" not in codes(planned("sdxl_inpaint.yaml", folder))


def test_compare_says_why_it_does_not_paint_and_what_to_do():
    with pytest.raises(UsageError, match="4 channels of 9") as told:
        painter(Base("sdxl", "m.safetensors", {"train_inpainting": True}))
    assert "compare --images" in (told.value.hint or "")


def test_a_picture_that_is_its_own_condition_is_right_where_a_mask_is_drawn(planned, pictures):
    folder = json.dumps(str(pictures(3)))
    places = (f"datasets.0.images={folder}", f"datasets.0.conditioning={folder}")
    assert "image.pair_same" in codes(planned("anima_lllite.yaml", *places))
    assert "image.pair_same" not in codes(planned("anima_lllite_inpaint.yaml", *places))
