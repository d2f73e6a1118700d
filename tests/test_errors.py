from __future__ import annotations

import re
from pathlib import Path

from kohya_runner import errors
from kohya_runner.commands.entry import READER_GONE

ROOT = Path(__file__).parents[1]
CLASSES = errors.RunnerError.__subclasses__()


def test_every_exit_code_is_unique_and_none_is_pythons_own():
    codes = [kind.exit_code for kind in CLASSES]
    assert len(codes) == len(set(codes))
    assert not {0, 1} & set(codes)


def test_every_exit_code_is_documented():
    table = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    documented = {int(n) for n in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {0, 1, READER_GONE, *(kind.exit_code for kind in CLASSES)}


def test_the_recipe_is_blamed_first_and_the_machine_last():
    assert errors.error_for({"disk", "recipe", "caption"}) is errors.RecipeError
    assert errors.error_for({"trainer", "caption"}) is errors.DatasetError
    assert errors.error_for({"trainer", "device"}) is errors.TrainerError
    assert errors.error_for({"hub"}) is errors.PreflightError
