from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines.table import FAMILIES
from kohya_runner.recipe.load import load
from kohya_runner.recipe.starter import Filled, shipped_recipes, starter, starter_file

LORAS = [row for row in FAMILIES if row.method == "lora"]


@pytest.mark.parametrize("row", LORAS, ids=lambda row: row.family)
def test_a_new_recipe_says_what_the_shipped_one_says(row, odd_path: Path):
    file, made = starter_file(row.family, row.recipe), odd_path / "mine.yaml"
    filled = Filled((("images: \"my 'art'\"  # two pictures", "concept: mine", "repeats: 3"),), {"seed": ("7", "why")})
    made.write_text(starter(file, filled, name="mine", output="mine.yaml"), encoding="utf-8")
    before, after = load(file).recipe, load(made).recipe
    assert list(after.args.items()) == list({**before.args, "seed": 7}.items())
    assert "# why\n" in made.read_text(encoding="utf-8")
    assert (after.family, after.model, after.components) == (before.family, before.model, before.components)
    (old,), (new,) = before.datasets, after.datasets
    assert new == old.model_copy(update={"images": "my 'art'", "concept": "mine", "repeats": 3})
    assert after.name == "mine"


def test_the_comments_come_along_with_commands_for_the_new_file():
    filled = Filled((("images: art", "concept: mine"),), {}, ("a note",))
    text = starter(shipped_recipes() / "sdxl_lora.yaml", filled, name="mine", output="'my recipe.yaml'")
    assert "\n# a note\ndatasets:\n  - images: art\n    concept: mine\n" in text
    assert "#   kohya-runner launch 'my recipe.yaml'\n" in text
    assert "  no_half_vae: true              # SDXL's VAE overflows in fp16\n" in text
    assert "extends" not in text
    assert "$schema" not in text
