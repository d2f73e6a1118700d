"""What a recipe's family and method mean: their row of the table, or a finding that says which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.findings import error
from kohya_runner.recipe.suggest import did_you_mean
from kohya_runner.trainers import families, method_rows

if TYPE_CHECKING:
    from kohya_runner.findings import Finding
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.trainers.families import Support


def find_support(loaded: Loaded) -> tuple[Support | None, tuple[Finding, ...]]:
    """The row, and what is wrong where there is none; a recipe that cannot be read has neither."""
    recipe = loaded.recipe
    row = families.find(recipe.family, recipe.method) if recipe is not None else None
    if recipe is None or row is not None:
        return row, ()
    known = families.methods(recipe.family)
    word, choices = ("method", known) if known else ("family", families.families())
    value = getattr(recipe, word)
    message = f"{word}: {value} is not supported" + (f" for family {recipe.family}" if known else "")
    why = method_rows.ABSENT.get((recipe.family, recipe.method), "")
    hint = f"{why}; write {', '.join(choices)}" if why else did_you_mean(value, choices)
    return None, (error(f"recipe.{word}", message, where=loaded.where(word), hint=hint),)
