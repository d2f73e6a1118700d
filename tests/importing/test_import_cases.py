"""Whole set-ups of other programs, imported and planned: the trainer gets what it was given before."""

from __future__ import annotations

import pytest
from foreign_files import CASES, case_files, different, expected, foreign, recipe_of, training_tokens
from planned_recipes import planned

from kohya_runner.engines.table import options_for
from kohya_runner.options.script_options import argparse_parser

__all__ = ["foreign", "planned"]

ALL = sorted(path.name for path in CASES.iterdir())


@pytest.mark.parametrize("case", [case for case in ALL if "flags" in expected(case)])
def test_the_options_come_out_as_the_trainer_had_them(case, odd_path, planned):
    output, wanted = odd_path / "made.yaml", expected(case)
    recipe_of(output, *case_files(case))
    plan = planned(output)
    assert plan.command is not None
    assert any(word.endswith(wanted["script"]) for word in plan.command.argv)
    parser = argparse_parser(options_for(wanted["script"], None))
    defaults = {action.dest: action.default for action in parser._actions}
    assert different(vars(parser.parse_args(training_tokens(plan))), defaults, wanted["flags"]) == {}


def test_values_of_a_fork_are_told_by_the_plan(odd_path, planned):
    output = odd_path / "made.yaml"
    recipe_of(output, *case_files("16"))
    assert set(expected("16")["expect_findings"]) <= {finding.code for finding in planned(output).findings}


def test_a_secret_goes_to_the_environment_and_is_not_written(odd_path):
    output = odd_path / "made.yaml"
    setup = recipe_of(output, *case_files("08"))
    text = output.read_text(encoding="utf-8")
    assert setup.secrets == {"wandb_api_key": "WANDB_API_KEY"}
    assert "set WANDB_API_KEY in the environment" in text
    assert "0000000000" not in text
