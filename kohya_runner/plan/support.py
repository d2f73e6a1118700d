"""The row of a recipe's family and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error
from kohya_runner.recipe.suggest import did_you_mean
from kohya_runner.trainers import families

if TYPE_CHECKING:
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.trainers.families import Support


def find_support(loaded: Loaded) -> tuple[Support | None, tuple[Finding, ...]]:
    """The row, or a finding that says which there are; nothing of a recipe that cannot be read."""
    recipe = loaded.recipe
    if recipe is None:
        return None, ()
    row = families.find(recipe.family, recipe.method)
    if row is not None:
        return row, ()
    known = families.methods(recipe.family)
    word, choices = ("method", known) if known else ("family", families.families())
    value = getattr(recipe, word)
    message = f"{word}: {value} is not supported" + (f" for family {recipe.family}" if known else "")
    hint = did_you_mean(value, choices)
    return None, (error(f"recipe.{word}", message, where=loaded.where(word), hint=hint),)
