from __future__ import annotations

import pytest
from diffusers_cases import DIFFUSERS_CASES, DIFFUSERS_ERRORS, DiffusersCase
from rule_cases import BY_CODE

from kohya_runner.findings import Severity
from kohya_runner.trainers import rule_table_diffusers


def codes(case: DiffusersCase, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@pytest.mark.parametrize("case", DIFFUSERS_CASES, ids=lambda case: case.id)
def test_a_rule_speaks_of_options_that_break_it_and_is_silent_where_they_just_do_not(case: DiffusersCase):
    assert case.code in codes(case, "bad")
    assert case.code not in codes(case, "good")


@pytest.mark.parametrize("case", DIFFUSERS_CASES, ids=lambda case: case.id)
def test_what_just_does_not_break_a_rule_breaks_no_other_one(case: DiffusersCase):
    assert {f.code: f.message for f in case.findings("good") if f.severity is Severity.ERROR} == {}


@pytest.mark.parametrize("case", DIFFUSERS_CASES, ids=lambda case: case.id)
def test_a_finding_names_the_scripts_line_and_a_place_in_the_recipe(case: DiffusersCase):
    (finding,) = [f for f in case.findings("bad") if f.code == case.code]
    assert finding.message.endswith(f"({BY_CODE[case.code].upstream})")
    assert finding.hint
    assert "{" not in finding.message
    stated = {name for name, value in case.bad.items() if value is not None}
    assert finding.where.startswith("recipe.yaml:1:") or not stated & set(BY_CODE[case.code].options)


def test_every_rule_has_a_case_and_every_error_one_that_the_real_script_refuses():
    assert {rule.code for rule in rule_table_diffusers.RULES} == {case.code for case in DIFFUSERS_CASES}
    errors = {rule.code for rule in rule_table_diffusers.RULES if rule.severity is Severity.ERROR}
    assert {case.code for case in DIFFUSERS_ERRORS} == errors


def test_no_rule_of_another_engine_speaks_of_these_scripts():
    said = {finding.code for case in DIFFUSERS_CASES for which in ("bad", "good") for finding in case.findings(which)}
    assert all(code.startswith("args.ip2p_") for code in said)
