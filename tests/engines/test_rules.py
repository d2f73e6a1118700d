from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers_cases import DIFFUSERS_CASES, DIFFUSERS_ERRORS
from method_cases import METHOD_CASES
from musubi_cases import ERRORS as MUSUBI_ERRORS
from musubi_cases import MUSUBI_CASES
from rule_cases import BY_CODE, CASES, ERRORS, Case, support

from kohya_runner.engines import table
from kohya_runner.engines.anchors import anchors
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES, SUBJECTS, rules_json, rules_markdown
from kohya_runner.engines.table import options_for
from kohya_runner.findings import CODES, Severity

ROOT = Path(__file__).parents[2]
BY_DEFAULT = {"hunyuan_image": ["args.hunyuan_precision"]}
"""Families that do not run with the trainer's own defaults."""
UPSTREAM = re.compile(r"([a-z0-9_]+/)*[a-z0-9_]+\.(py|md):\d+(, [a-z0-9_/]+\.py:\d+)*")


def codes(case: Case, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_speaks_of_options_that_break_it(case: Case):
    assert case.code in codes(case, "bad")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_is_silent_where_it_is_just_not_broken(case: Case):
    assert case.code not in codes(case, "good")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_just_does_not_break_a_rule_breaks_no_other_one(case: Case):
    wrong = {f.code: f.message for f in case.findings("good") if f.severity is Severity.ERROR}
    assert wrong == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_finding_names_the_trainers_line_and_a_place_in_the_recipe(case: Case):
    (finding,) = [f for f in case.findings("bad") if f.code == case.code]
    rule, row = BY_CODE[case.code], support(case.family)
    lines = anchors(rule.engine, case.code, row.script, case.bad.get("network_module", row.network_module) or "")
    assert f"({', '.join(line.place for line in lines)})" in finding.message
    assert finding.hint
    assert "{" not in finding.message
    stated = {name for name, value in case.bad.items() if value is not None}
    assert finding.where.startswith("recipe.yaml:1:") or not stated & set(rule.options)


@pytest.mark.parametrize(
    "family", [row.family for row in table.FAMILIES if row.method == "lora" and row.engine == "sd-scripts"]
)
def test_the_trainers_defaults_break_no_rule_but_a_missing_network(family: str):
    row = support(family)
    found = evaluate(Context(ParsedOptions(options_for(row.script, None), row.added), row), RULES)
    wanted = ["args.network_module_missing", *BY_DEFAULT.get(family, ())]
    assert [f.code for f in found if f.severity is not Severity.INFO] == wanted


OF_A_DATASET = {"args.inpaint_preserve"}  # its option is one of a dataset: tests/plan/test_inpainting.py


def test_every_rule_has_a_case():
    cases = {case.code for case in (*CASES, *METHOD_CASES, *MUSUBI_CASES, *DIFFUSERS_CASES)}
    assert cases | OF_A_DATASET == set(BY_CODE)


def test_every_error_is_among_the_cases_that_the_real_trainer_refuses():
    errors = {rule.code for rule in RULES if rule.severity is Severity.ERROR} - OF_A_DATASET
    assert {case.code for case in (*ERRORS, *METHOD_CASES, *MUSUBI_ERRORS, *DIFFUSERS_ERRORS)} >= errors
    assert {case.code for case in ERRORS} <= errors


def test_codes_are_unique_and_belong_to_the_options():
    assert len(BY_CODE) == len(RULES)
    assert all(re.fullmatch(r"args\.[a-z0-9_]+", rule.code) for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_names_options_that_a_script_has(rule):
    scripts = {row.script for row in table.FAMILIES if row.engine == rule.engine}
    known = {name for script in scripts for name in options_for(script, None)} | {"num_processes"}
    assert set(rule.options) <= known
    places = set(re.findall(r"(?<!\{)\{(\w+)\}", rule.message + rule.fix))
    assert places <= known | {"what"}
    assert set(rule.families) <= {row.family for row in table.FAMILIES if row.engine == rule.engine}
    assert UPSTREAM.fullmatch(rule.upstream)


def test_a_rule_of_another_family_is_silent():
    case = next(case for case in CASES if case.code == "args.half_vae")
    assert "args.half_vae" not in codes(replace(case, family="sd15"), "bad")


def test_an_external_network_module_is_not_judged():
    case = Case("", {"network_module": "lycoris.kohya", "network_args": {"algo": "lokr", "factor": 8}})
    assert case.findings("bad") == ()


def test_an_unknown_network_argument_is_answered_with_the_nearest_one():
    case = Case("", {"network_args": {"conv_dims": 4, "alpha": 2}})
    (finding,) = case.findings("bad")
    assert "did you mean 'conv_dim'?" in finding.message
    assert "network_alpha" in finding.message


def test_an_optimizer_in_the_wrong_case_is_answered_with_the_right_one():
    (finding,) = Case("", {"optimizer_type": "adam"}).findings("bad")
    assert finding.hint == "write args.optimizer_type: Adam"


@pytest.mark.parametrize("name", ["AdamW8bit", "PAGEDADAMW", "prodigyplus.ProdigyPlusScheduleFree", "Muon"])
def test_an_optimizer_that_may_well_exist_is_left_alone(name: str):
    case = Case("", {"optimizer_type": name, "learning_rate": 1})
    assert case.findings("bad") == ()


def test_a_state_at_the_end_of_the_run_cannot_be_gone_on_from():
    (finding,) = Case("", {"resume": "state"}, around={"resume_step": 2}).findings("bad")
    assert finding.code == "args.initial_step"


def test_with_several_processes_the_step_of_an_epoch_is_not_guessed():
    case = Case("", {"initial_epoch": 9, "skip_until_initial_step": True}, around={"num_processes": 2})
    assert {finding.code for finding in case.findings("bad")} <= {"args.steps_processes"}


def test_an_unknown_number_of_steps_makes_no_finding_about_their_end():
    case = Case("", {"initial_step": 9, "skip_until_initial_step": True}, around={"total_steps": None})
    assert case.findings("bad") == ()


def test_the_json_lists_every_rule_and_every_other_code():
    listed = rules_json()
    assert [row["code"] for row in listed["rules"]] == [rule.code for rule in RULES]
    assert [row["code"] for row in listed["codes"]] == list(CODES)
    assert not CODES.keys() & {rule.code for rule in RULES}


def test_the_page_has_every_rule_and_every_code():
    page = rules_markdown()
    assert all(f"## {subject}" in page for subject in SUBJECTS)
    assert all(f"| `{rule.code}` |" in page for rule in RULES)
    assert all(f"| `{name}` |" in page for name in CODES)


def test_the_committed_page_is_the_generated_one():
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == rules_markdown()
