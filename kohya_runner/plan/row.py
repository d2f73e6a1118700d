"""The row of the recipe's family and method, also where the recipe is wrong or misspells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error
from kohya_runner.recipe import suggest
from kohya_runner.trainers import families

if TYPE_CHECKING:
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.trainers.families import Support


def find(loaded: Loaded) -> tuple[Support | None, tuple[Finding, ...]]:
    """The row, or a finding that says which there are; a missing family is the recipe's own finding."""
    family, method = _family(loaded), _method(loaded)
    support = families.find(family, method)
    if support is not None or not family:
        return support, ()
    known = families.methods(family)
    word, value, choices = ("method", method, known) if known else ("family", family, families.families())
    message = f"{word}: {value} is not supported" + (f" for family {family}" if known else "")
    where, hint = loaded.where(word), suggest.did_you_mean(value, choices)
    return None, (error(f"recipe.{word}", message, where=where, hint=hint),)


def meant(loaded: Loaded) -> Support | None:
    """The row that a misspelt family or method most likely means, so that the options can be read by it."""
    family = suggest.nearest(_family(loaded), families.families()) or ""
    known = families.methods(family)
    method = suggest.nearest(_method(loaded), known) or next(iter(known), "")
    return families.find(family, method)


def _family(loaded: Loaded) -> str:
    return loaded.recipe.family if loaded.recipe else loaded.word("family")


def _method(loaded: Loaded) -> str:
    return loaded.recipe.method if loaded.recipe else loaded.word("method", "lora")
