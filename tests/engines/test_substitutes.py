from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.engines import table
from kohya_runner.engines.catalogue import FILL, INPAINT, models
from kohya_runner.errors import UsageError
from kohya_runner.plan.pipeline import find_support
from kohya_runner.recipe.load import load

ROOT = Path(__file__).parents[2]
WORDS = {"supported", "stand-in", "not by a recipe yet", "not available upstream"}


def refused(family: str, method: str):
    base = ROOT / "recipes" / "sd15_lora.yaml"
    loaded = load(base, (f"family={json.dumps(family)}", f"method={json.dumps(method)}"), environ={})
    row, findings = find_support(loaded)
    assert row is None
    return findings[0]


def test_every_pair_has_one_of_four_words_and_a_reason():
    rows = models()
    assert {row.state for row in rows} == WORDS
    assert len({(row.family, row.method) for row in rows}) == len(rows)
    assert all(row.detail for row in rows)


INPAINTING = ("sd15", "sdxl")


@pytest.mark.parametrize("family", [family for family in table.families() if family not in INPAINTING])
@pytest.mark.parametrize("method", FILL)
def test_filling_is_refused_with_the_reason_and_the_substitutes(family, method):
    finding = refused(family, method)
    assert finding.code == "recipe.method"
    assert finding.where.startswith("--set method")
    assert "channels" in finding.message or "mask" in finding.message
    if family == "anima":
        assert "lllite_cond_in_channels: 4" in finding.hint
    else:
        assert all(word in finding.hint for word in ("masked_loss", "Kontext", "OneTrainer"))


@pytest.mark.parametrize("family", INPAINTING)
@pytest.mark.parametrize("method", [name for name in FILL if name != INPAINT])
def test_what_people_call_inpainting_is_told_the_methods_name(family, method):
    assert refused(family, method).hint == f"write method: {INPAINT}"


def test_models_say_which_families_are_trained_for_inpainting():
    states = {row.family: row.state for row in models() if row.method == INPAINT}
    assert set(states) == set(table.families())
    assert {family for family, state in states.items() if state == "supported"} == set(INPAINTING)
    assert {family for family, state in states.items() if state == "stand-in"} == {"anima"}
    assert set(states.values()) == WORDS - {"not by a recipe yet"}


def test_controlnets_on_edit_pairs_are_called_a_stand_in():
    found = {(row.family, row.method): row for row in models() if row.state == "stand-in"}
    for family, method in (("sd15", "controlnet"), ("sdxl", "controlnet"), ("sdxl", "lllite"), ("anima", "lllite"),
                           ("flux", "controlnet")):  # fmt: skip
        assert "not instruction editing" in found[family, f"{method} on edit pairs"].detail


def test_a_family_without_an_editor_is_told_its_stand_in():
    finding = refused("flux", "instruct_pix2pix")
    assert "SD 1.5 and SDXL" in finding.message
    assert finding.hint.startswith("write method: controlnet")


def test_a_family_that_edits_by_itself_is_told_its_own_method():
    assert refused("flux2", "instruct_pix2pix").hint == "write method: lora"
    assert ("flux2", "instruct_pix2pix") not in {(row.family, row.method) for row in models()}


def test_a_family_without_pairs_has_no_stand_in():
    assert "Kontext" in refused("lumina", "instruct_pix2pix").message


@pytest.mark.parametrize(
    ("said", "title"),
    [("wan", "Wan 2.1 and 2.2"), ("Wan2.2", "Wan 2.1 and 2.2"), ("hunyuan-video-1.5", "HunyuanVideo 1.5"),
     ("HunyuanVideo", "HunyuanVideo"), ("ideogram4", "Ideogram 4"), ("hidream_o1", "HiDream-O1")],
)  # fmt: skip
def test_a_family_that_only_the_trainer_knows_is_told_as_that(said, title):
    text = f"{title}, trained by musubi-tuner, not by a recipe here yet"
    found = refused(said, "lora")
    assert (found.code, found.message) == ("recipe.family", f"family: {said} is {text}")
    with pytest.raises(UsageError) as told:
        models(said)
    assert told.value.message == f"{said}: {text}"


def test_what_the_pinned_trainer_has_besides_is_listed():
    rows = [row for row in models() if row.state == "not by a recipe yet"]
    assert [row.family for row in rows] == list(table.OTHERS)
    assert not {row.family for row in rows} & set(table.families())
