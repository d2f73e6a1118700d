"""Every recipe is planned, and its command line is the one on file: ``tests/recipes/<recipe>.argv``, a token a line.

After a change that means to change a command line: ``pytest tests/test_recipes.py --write-argv``, and read the diff.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kohya_runner.findings import Severity

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.name for path in (ROOT / "recipes").glob("*.yaml"))
ON_FILE = Path(__file__).with_name("recipes")
SECOND = {"conditioning:": "0.conditioning", "regularization: true": "1.images"}
"""A recipe with these words reads a second folder; what the folder's place in the recipe is."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_planned_as_the_command_line_on_file(recipe, planned, pictures, edit_pairs, request):
    text = (ROOT / "recipes" / recipe).read_text(encoding="utf-8")
    places = {key: pictures(6, name=key) for word, key in SECOND.items() if word in text}
    if "metadata.jsonl" in text:
        places["0.images"] = edit_pairs(6)
    elif recipe != "quickstart.yaml" and "_leco" not in recipe:
        places["0.images"] = pictures(203 if "bespoke" in recipe else 6)
    plan = planned(recipe, *(f"datasets.{key}={json.dumps(str(folder))}" for key, folder in places.items()))
    assert [str(found) for found in plan.findings if found.severity is Severity.ERROR] == []
    tokens = [without_this_machine(token) for token in plan.command.argv[1:]]
    file = ON_FILE / f"{Path(recipe).stem}.argv"
    if request.config.getoption("--write-argv"):
        file.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    assert tokens == file.read_text(encoding="utf-8").split("\n")[:-1]


def without_this_machine(token: str) -> str:
    """Folders and the keys of trees and caches depend on where and of what pictures the plan was made."""
    token = re.sub(r"=/.*?/(ws|recipes|models)/", r"=\1/", token)
    return re.sub(r"(/|-)[0-9a-f]{12}(/|\.|$)", r"\1KEY\2", token).replace(str(ROOT), "PROJECT")


def test_no_command_line_on_file_is_of_a_recipe_that_is_gone():
    assert len(RECIPES) >= 4
    assert {path.stem for path in ON_FILE.iterdir()} == {Path(name).stem for name in RECIPES}
