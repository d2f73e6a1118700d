"""What docs/security.md promises of the shipped recipes, and that its table names what the code's table has."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.plan.consent import KEYS, OPTIONS, Consents, Effect, consequences
from kohya_runner.recipe.load import load
from kohya_runner.workspace import Workspace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_recipe_needs_consent_or_does_anything_besides_training(path: Path):
    assert consequences(load(path), Workspace(Path("/workspace")), Consents()) == ()


@pytest.mark.parametrize("effect", [one for one in Effect if one not in (Effect.NONE, Effect.READ)])
def test_the_page_has_every_effect(effect: Effect):
    assert f"**{effect.value}**" in PAGE
    named = [name for name, of in {**OPTIONS, **KEYS}.items() if of is effect]
    assert any(name in PAGE for name in named)
