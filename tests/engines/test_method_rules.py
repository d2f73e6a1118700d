from __future__ import annotations

import pytest
from method_cases import ERRORS, FAMILY, METHOD_CASES, OWN, MethodCase
from rule_cases import BY_CODE
from test_rules import OF_A_DATASET, UPSTREAM

from kohya_runner.engines import anchors, table
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES, SUBJECTS
from kohya_runner.engines.table import options_for
from kohya_runner.findings import Severity

METHODS = (
    "Full fine-tunes and DreamBooth", "Full fine-tunes of one family", "ControlNet and textual inversion", "Inpainting",
    "LECO", "Anima: LLLite and torch.compile",
)  # fmt: skip
TABLES = [rule for subject in METHODS for rule in SUBJECTS[subject] if rule.code not in OF_A_DATASET]
OTHER_METHODS = [row for row in table.FAMILIES if row.method != "lora" and row.engine != "musubi-tuner"]


def codes(case: MethodCase, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@pytest.mark.parametrize("case", METHOD_CASES, ids=lambda case: case.id)
def test_a_rule_speaks_of_options_that_break_it(case: MethodCase):
    assert case.code in codes(case, "bad")


@pytest.mark.parametrize("case", METHOD_CASES, ids=lambda case: case.id)
def test_a_rule_is_silent_where_it_is_just_not_broken(case: MethodCase):
    assert case.code not in codes(case, "good")


@pytest.mark.parametrize("case", METHOD_CASES, ids=lambda case: case.id)
def test_what_just_does_not_break_a_rule_breaks_no_other_one(case: MethodCase):
    assert {f.code: f.message for f in case.findings("good") if f.severity is Severity.ERROR} == {}


@pytest.mark.parametrize("case", METHOD_CASES, ids=lambda case: case.id)
def test_a_finding_names_this_scripts_line_and_no_other_scripts(case: MethodCase):
    (finding,) = [f for f in case.findings("bad") if f.code == case.code]
    line = ", ".join(row.place for row in anchors.anchors("sd-scripts", case.code, case.row.script))
    assert finding.message.endswith(f"({line})")
    assert finding.hint
    assert "{" not in finding.message


def test_every_rule_of_the_two_tables_has_a_case():
    assert {rule.code for rule in TABLES} <= {case.code for case in METHOD_CASES}


def test_every_error_of_the_two_tables_is_among_the_cases_that_the_real_trainer_refuses():
    errors = {rule.code for rule in TABLES if rule.severity is Severity.ERROR}
    assert errors == {case.code for case in ERRORS}


@pytest.mark.parametrize("row", OTHER_METHODS, ids=lambda row: f"{row.family}-{row.method}")
def test_a_methods_own_defaults_break_no_rule(row):
    given = dict(row.added) | OWN[row.method] | FAMILY.get(row.family, {})
    given |= {"network_module": row.network_module} if row.network_module else {}
    found = evaluate(Context(ParsedOptions(options_for(row.script, None), given), row), RULES)
    assert [f.code for f in found if f.severity is not Severity.INFO] == []


def test_a_rule_of_another_method_is_silent():
    row = table.find("sdxl", "finetune")
    assert row is not None
    settings = ParsedOptions(options_for(row.script, None), {"cache_text_encoder_outputs": True})
    assert evaluate(Context(settings, row), RULES) == ()


def test_the_lines_are_of_scripts_and_rules_that_there_are():
    scripts = {row.script for row in table.FAMILIES}
    codes = {code: lines for found in anchors.table().values() for code, lines in found.items()}
    assert set(codes) == set(BY_CODE)
    assert {script for lines in codes.values() for script in lines if script} <= scripts
    assert all(UPSTREAM.fullmatch(row.place) for lines in codes.values() for rows in lines.values() for row in rows)


def test_methods_of_rules_are_methods_of_the_table():
    known = {row.method for row in table.FAMILIES}
    assert {method for rule in BY_CODE.values() for method in rule.methods} <= known


def test_no_schedule_is_recommended_that_the_script_cannot_take():
    hints = {}
    for family in ("sd3", "anima"):
        case = MethodCase("", {"loss_type": "huber"}, family=family)
        (finding,) = [f for f in case.findings("bad") if f.severity is Severity.ERROR]
        hints[family] = finding.hint
    assert hints == {
        "sd3": "write args.huber_schedule: constant or exponential",
        "anima": "write args.huber_schedule: constant",
    }
