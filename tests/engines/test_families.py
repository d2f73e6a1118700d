"""Every row of the table of families has all that hangs on it elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.artefact.model_inspection import MODEL, SLOTS
from kohya_runner.engines.sd_scripts.rules.network import modules_for
from kohya_runner.engines.table import FAMILIES, families, options_for
from kohya_runner.machine.architectures import ARCHITECTURES
from kohya_runner.machine.downloads import SINGLE_FILES
from kohya_runner.machine.sizes import LATENTS, NETWORKS
from kohya_runner.recipe.starter import starter_file

ROOT = Path(__file__).parents[2]
LORAS = [row for row in FAMILIES if row.method == "lora" and row.engine == "sd-scripts"]
OTHERS = [row for row in FAMILIES if row.engine != "sd-scripts"]


@pytest.fixture(params=LORAS, ids=lambda row: row.family)
def row(request: pytest.FixtureRequest):
    return request.param


def test_the_trainers_eight_families_are_all_there():
    assert families()[:8] == ("sd15", "sd2", "sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima")


def test_the_script_takes_every_component(row):
    options = options_for(row.script, None)
    assert {c.name for c in row.components} <= set(options)
    assert all(set(c.unless) <= set(options) for c in row.components)


def test_what_the_runner_adds_is_an_option_of_the_script(row):
    assert set(row.added) <= set(options_for(row.script, None))


def test_the_network_module_is_made_for_the_family(row):
    assert row.network_module in modules_for(row.family, options_for(row.script, None).networks)


def test_the_module_counts_are_those_that_sizes_are_reckoned_with(row):
    network = NETWORKS[row.family]
    assert row.modules["text_encoder"] == network.text_encoder.count
    assert row.modules["unet"] == network.unet.count
    assert row.modules.get("unet_conv", network.unet.count) == network.unet.count + network.conv.count


def test_the_family_has_sizes_memory_and_latents(row):
    assert row.family in SINGLE_FILES
    assert row.family in LATENTS
    text = {name for name, _ in ARCHITECTURES[row.family].text}
    named = {c.name for c in row.components} - {"ae", "vae"}
    assert named in (text, set())


def test_each_file_of_the_family_is_known_by_its_header(row):
    assert (row.family, MODEL) in SLOTS
    assert all((row.family, c.name) in SLOTS for c in row.components)


def test_a_new_recipe_can_be_written_and_there_is_one_to_look_at(row):
    assert starter_file(row.family, row.recipe).is_file()
    assert (ROOT / row.recipe).is_file()
    assert (ROOT / "recipes" / "base" / f"{row.family}_lora.yaml").is_file() or row.family == "sdxl"


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: f"{row.family} {row.method}")
def test_a_row_of_another_engine_names_what_its_scripts_have(row):
    options = options_for(row.script, None)
    assert {row.model_option, *(c.flag for c in row.components), *row.added} <= set(options)
    for stage in row.stages:
        known = options_for(stage.script, None)
        assert {*(row.flag_of(name) for name in stage.components), *stage.options} <= set(known)
    assert (ROOT / row.recipe).is_file()


@pytest.mark.parametrize("row", [row for row in OTHERS if row.engine == "musubi-tuner"], ids=lambda row: row.family)
def test_every_variant_has_sizes(row):
    for name in {row.family, *row.variants.values()}:
        assert name in NETWORKS
        assert name in ARCHITECTURES
        assert name in LATENTS
    choices = options_for(row.script, None)["model_version"].choices if row.variants else ()
    if choices is not None:  # Qwen-Image's scripts take any text and look at it themselves
        assert set(row.variants) == set(choices)
