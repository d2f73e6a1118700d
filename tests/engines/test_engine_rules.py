"""What holds for the rules of every engine beside sd-scripts."""

from __future__ import annotations

import pytest
from diffusers_cases import DIFFUSERS_CASES, DIFFUSERS_ERRORS, DiffusersCase
from musubi_cases import ERRORS, MUSUBI_CASES, MusubiCase
from rule_cases import BY_CODE

from kohya_runner.engines.diffusers import rules as diffusers_rules
from kohya_runner.engines.musubi import rules as musubi_rules
from kohya_runner.findings import Severity

CASES = (*MUSUBI_CASES, *DIFFUSERS_CASES)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_table = pytest.mark.parametrize(
    ("table", "cases", "refused"),
    [
        (musubi_rules, MUSUBI_CASES, ERRORS),
        (diffusers_rules, DIFFUSERS_CASES, DIFFUSERS_ERRORS),
    ],
    ids=["musubi-tuner", "diffusers"],
)


def codes(case: MusubiCase | DiffusersCase, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@every_case
def test_a_rule_speaks_of_options_that_break_it(case):
    assert case.code in codes(case, "bad")


@every_case
def test_a_rule_is_silent_where_it_is_just_not_broken(case):
    assert case.code not in codes(case, "good")


@every_case
def test_what_just_does_not_break_a_rule_breaks_no_other_one(case):
    assert {f.code: f.message for f in case.findings("good") if f.severity is Severity.ERROR} == {}


@every_case
def test_a_finding_names_the_trainers_line_and_a_place_in_the_recipe(case):
    (finding,) = [f for f in case.findings("bad") if f.code == case.code]
    told = finding.message.rpartition("(")[2].removesuffix(")").split(", ")
    assert told[0].rpartition(":")[2].isdecimal()
    assert set(told) <= set(BY_CODE[case.code].upstream.split(", "))  # of several scripts that of its own
    assert finding.hint
    assert "{" not in finding.message
    stated = {name for name, value in case.bad.items() if value is not None}
    assert finding.where.startswith("recipe.yaml:1:") or not stated & set(BY_CODE[case.code].options)


@every_table
def test_every_rule_of_the_table_has_a_case(table, cases, refused):
    assert {rule.code for rule in table.RULES} == {case.code for case in cases}


@every_table
def test_every_error_is_among_the_cases_that_the_real_script_refuses(table, cases, refused):
    errors = {rule.code for rule in table.RULES if rule.severity is Severity.ERROR}
    assert errors == {case.code for case in refused}


def test_no_rule_of_another_engine_speaks_of_diffusers_scripts():
    said = {code for case in DIFFUSERS_CASES for which in ("bad", "good") for code in codes(case, which)}
    assert said <= {rule.code for rule in diffusers_rules.RULES}
