from __future__ import annotations

from dataclasses import replace

import pytest
from musubi_cases import MUSUBI_CASES, OWN, MusubiCase, row
from rule_cases import Case

from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.musubi import rules
from kohya_runner.engines.musubi.rules import MOST_SWAPPED
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.table import options_for
from kohya_runner.findings import Severity

NEEDED = {"args.musubi_attention", "args.musubi_precision", "args.musubi_optimizer_missing"}


def codes(case: MusubiCase, which: str) -> set[str]:
    return {finding.code for finding in case.findings(which)}


@pytest.mark.parametrize("family", OWN)
def test_the_scripts_own_defaults_do_not_run(family: str):
    options = options_for(row(family).script, None)
    found = evaluate(
        Context(ParsedOptions(options, {"network_module": row(family).network_module}), row(family)), RULES
    )
    bf16 = {"args.musubi_precision"} if family == "z_image" else set()  # loaded in the mixed precision, whichever
    assert {f.code for f in found if f.severity is Severity.ERROR} == NEEDED - bf16


@pytest.mark.parametrize("family", OWN)
def test_no_rule_of_sd_scripts_is_asked_of_another_engine(family: str):
    found = evaluate(Context(ParsedOptions(options_for(row(family).script, None), {}), row(family)), RULES)
    assert {f.code for f in found} <= {rule.code for rule in rules.RULES}


def test_no_rule_of_this_engine_is_asked_of_sd_scripts():
    assert not {f.code for f in Case("", {}).findings("bad")} & {rule.code for rule in rules.RULES}


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
