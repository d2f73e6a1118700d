"""The cards that bear a run, and the recipe lines that make a smaller one do: each line is put to the proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.findings import Severity
from kohya_runner.machine.memory_savings import CLASSES, GB, card_classes, described
from kohya_runner.machine.memory_use import VramSettings, estimate
from kohya_runner.plan.report import plan_json, rows

FLUX = VramSettings("flux", 19_000_000, 1024 * 1024, precision="bf16", gradient_checkpointing=True, cache_latents=True)
RECIPES = (
    "anima_dreambooth.yaml", "bespoke_baby_sdxl.yaml", "chroma_lora.yaml", "flux_lora.yaml", "lumina_lora.yaml",
    "sd15_finetune.yaml", "sd2_dreambooth.yaml", "sd3_lora.yaml", "sd3_finetune.yaml", "sdxl_finetune_48gb.yaml",
    "sdxl_lora.yaml", "sdxl_textual_inversion.yaml",
)  # fmt: skip
EDITS = ("flux_kontext_lora.yaml", "flux2_klein_lora.yaml")


def proof(planned, recipe: str, data: str) -> None:
    """Every line that is named, written into the recipe: no new error, and what the plan then needs is within."""
    made = planned(recipe, data)
    before = {f.code for f in made.findings if f.severity is Severity.ERROR}
    assert made.forecast.rent.classes
    for one in made.forecast.rent.classes:
        sets = [part.replace(": ", "=", 1) for line in one.lines for part in line.split(" with ")]
        after = planned(recipe, data, *sets) if sets else made
        assert {f.code for f in after.findings if f.severity is Severity.ERROR} == before
        assert not one.fits or after.forecast.memory.vram.total <= one.gb * GB


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_lines_that_make_a_smaller_card_do_are_true(planned, pictures, recipe):
    data = json.dumps([{"images": str(pictures(3)), "concept": "lad"}])
    proof(planned, recipe, f"datasets={data}")


@pytest.mark.parametrize("recipe", EDITS)
def test_so_they_are_of_an_edit_model(planned, edit_pairs, recipe):
    proof(planned, recipe, f"datasets.0.images={json.dumps(str(edit_pairs(3)))}")


def test_the_smallest_card_is_named_and_what_makes_the_next_smaller_one_do():
    text = dict(described(card_classes(FLUX), 1))
    need = estimate(FLUX).total
    smallest = next(gb for gb, _ in CLASSES if gb * GB >= need)
    assert text["card"].startswith(f"{smallest} GB (")
    assert "would do with args." in text["smaller"]
    assert dict(described(card_classes(FLUX), 2))["card"].startswith("2 cards, each of ")


def test_a_size_that_no_line_reaches_is_told_as_such():
    huge = VramSettings("flux", 12_000_000_000, 2048 * 2048, network=False, whole=True)
    text = dict(described(card_classes(huge)[:1], 1))["card"]
    assert "none of 8 GB or less bears it as it is: with every line that is known" in text
    assert card_classes(VramSettings("nobody knows", 1, 1)) == ()


def test_plan_elsewhere_names_card_disk_and_time(planned, pictures, odd_path: Path):
    plan = planned("flux_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}")
    told, text = plan_json(plan)["rent"], dict(rows(plan))
    assert [one["gb"] for one in told["cards"]] == [gb for gb, _ in CLASSES]
    assert told["volume_gb"] % 10 == 0
    assert told["volume_gb"] * 10**9 > plan_json(plan)["disk"]["needed_bytes"]
    assert text["rent"].startswith(f"a volume of {told['volume_gb']} GB")
    assert told["times"] == []
    assert "no time estimate yet" in text["time"]


def test_block_swap_makes_sixteen_gigabytes_do_for_flux(planned, pictures):
    plan = planned("flux_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3, size=(1024, 1024))))}")
    assert "16 GB (" in dict(rows(plan))["smaller"]
    assert "would do with args.blocks_to_swap: " in dict(rows(plan))["smaller"]


def test_what_is_on_this_machine_must_be_brought_to_the_other(planned, pictures, odd_path: Path):
    model = odd_path / "model.safetensors"
    model.write_bytes(b"\0" * 5000)
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    plan = planned("sd15_lora.yaml", images, f"model={json.dumps(str(model))}")
    assert ("model.safetensors", 5000) in [(item["what"], item["bytes"]) for item in plan_json(plan)["disk"]["items"]]
