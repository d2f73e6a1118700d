from __future__ import annotations

from dataclasses import replace

import pytest
from musubi_cases import ERRORS, MUSUBI_CASES, OWN, MusubiCase, row
from rule_cases import BY_CODE, Case

from kohya_runner.findings import Severity
from kohya_runner.plan.settings import Settings
from kohya_runner.trainers import rule_table_musubi
from kohya_runner.trainers.musubi_conditions import MOST_SWAPPED
from kohya_runner.trainers.options import options_for
from kohya_runner.trainers.rules import Context, evaluate

NEEDED = {"args.musubi_attention", "args.musubi_precision", "args.musubi_optimizer_missing"}


def codes(case: MusubiCase, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@pytest.mark.parametrize("case", MUSUBI_CASES, ids=lambda case: case.id)
def test_a_rule_speaks_of_options_that_break_it(case: MusubiCase):
    assert case.code in codes(case, "bad")


@pytest.mark.parametrize("case", MUSUBI_CASES, ids=lambda case: case.id)
def test_a_rule_is_silent_where_it_is_just_not_broken(case: MusubiCase):
    assert case.code not in codes(case, "good")


@pytest.mark.parametrize("case", MUSUBI_CASES, ids=lambda case: case.id)
def test_what_just_does_not_break_a_rule_breaks_no_other_one(case: MusubiCase):
    assert {f.code: f.message for f in case.findings("good") if f.severity is Severity.ERROR} == {}


@pytest.mark.parametrize("case", MUSUBI_CASES, ids=lambda case: case.id)
def test_a_finding_names_the_trainers_line_and_a_place_in_the_recipe(case: MusubiCase):
    (finding,) = [f for f in case.findings("bad") if f.code == case.code]
    assert finding.message.endswith(f"({BY_CODE[case.code].upstream})")
    assert finding.hint
    assert "{" not in finding.message
    stated = {name for name, value in case.bad.items() if value is not None}
    assert finding.where.startswith("recipe.yaml:1:") or not stated & set(BY_CODE[case.code].options)


def test_every_rule_of_the_table_has_a_case():
    assert {rule.code for rule in rule_table_musubi.RULES} == {case.code for case in MUSUBI_CASES}


def test_every_error_is_among_the_cases_that_the_real_script_refuses():
    errors = {rule.code for rule in rule_table_musubi.RULES if rule.severity is Severity.ERROR}
    assert errors == {case.code for case in ERRORS}


@pytest.mark.parametrize("family", OWN)
def test_the_scripts_own_defaults_do_not_run(family: str):
    options = options_for(row(family).script, None)
    found = evaluate(Context(Settings(options, {"network_module": row(family).network_module}), row(family)))
    assert {f.code for f in found if f.severity is Severity.ERROR} == NEEDED


@pytest.mark.parametrize("family", OWN)
def test_no_rule_of_sd_scripts_is_asked_of_another_engine(family: str):
    found = evaluate(Context(Settings(options_for(row(family).script, None), {}), row(family)))
    assert {f.code for f in found} <= {rule.code for rule in rule_table_musubi.RULES}


def test_no_rule_of_this_engine_is_asked_of_sd_scripts():
    assert not {f.code for f in Case("", {}).findings("bad")} & {rule.code for rule in rule_table_musubi.RULES}


def test_every_variant_of_flux2_has_its_number_of_blocks():
    choices = options_for("flux_2_train_network.py", None)["model_version"].choices
    assert set(MOST_SWAPPED) == set(choices or ())


def test_a_rule_of_the_other_family_is_silent():
    case = next(case for case in MUSUBI_CASES if case.code == "args.musubi_swap_kontext")
    assert "args.musubi_swap_kontext" not in codes(replace(case, family="flux2"), "bad")


def test_an_external_network_is_not_judged():
    case = MusubiCase("", {"network_module": "lycoris.kohya", "network_args": {"algo": "lokr"}})
    assert case.findings("bad") == ()


def test_an_unknown_network_argument_is_answered_with_the_nearest_one():
    (finding,) = MusubiCase("", {"network_args": {"module_drop_out": 0.1}}).findings("bad")
    assert "module_dropout" in finding.message
