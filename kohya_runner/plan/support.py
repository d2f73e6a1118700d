"""What a recipe's family and method mean, also where the recipe is wrong or misspells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines import substitutes, table
from kohya_runner.findings import error
from kohya_runner.suggest import did_you_mean, nearest

if TYPE_CHECKING:
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.recipe.load import Loaded


def find_support(loaded: Loaded) -> tuple[Support | None, tuple[Finding, ...]]:
    """The row, or a finding that says which there are; a missing family is the recipe's own finding."""
    family, method = _family(loaded), _method(loaded)
    row = table.find(family, method)
    if row is not None or not family:
        return row, ()
    known = table.methods(family)
    word, value, choices = ("method", method, known) if known else ("family", family, table.families())
    message = f"{word}: {value} is not supported" + (f" for family {family}" if known else "")
    why = table.ABSENT.get((family, method), "")
    reason, instead = substitutes.refusal(family, method, table.FAMILIES)
    if known and reason:
        return None, (error("recipe.method", f"{message}: {reason}", where=loaded.where(word), hint=instead),)
    hint = f"{why}; write {', '.join(choices)}" if why else did_you_mean(value, choices)
    return None, (error(f"recipe.{word}", message, where=loaded.where(word), hint=hint),)


def meant_support(loaded: Loaded) -> Support | None:
    """The row that a misspelt family or method most likely means, so that the options can be read by it."""
    family = nearest(_family(loaded), table.families()) or ""
    known = table.methods(family)
    method = nearest(_method(loaded), known) or next(iter(known), "")
    return table.find(family, method)


def _family(loaded: Loaded) -> str:
    return loaded.recipe.family if loaded.recipe else loaded.word("family")


def _method(loaded: Loaded) -> str:
    return loaded.recipe.method if loaded.recipe else loaded.word("method", "lora")
