"""A plan in the making, and a recipe that could be read with what its words mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kohya_runner.findings import allow
from kohya_runner.plan.value import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engines.arguments import Arg
    from kohya_runner.engines.method_data import Pairs
    from kohya_runner.engines.settings import Settings
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.plan.machine import Asked
    from kohya_runner.plan.models import Models
    from kohya_runner.plan.value import Request
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.recipe.models import Recipe
    from kohya_runner.workspace import Workspace


@dataclass(slots=True)
class Draft:
    """A plan in the making: what is known so far, and what of it goes into the plan."""

    request: Request
    environ: Mapping[str, str]
    loaded: Loaded
    workspace: Workspace
    findings: list[Finding]
    parts: dict[str, Any] = field(default_factory=dict)
    asked: Asked = lambda: None  # waits for what the trainer's Python says of itself

    def finish(self) -> Plan:
        """The plan, with the findings that were asked to be warnings."""
        found = allow(dict.fromkeys(self.findings), self.request.allow)
        return Plan(self.request, self.loaded, self.workspace, found, **self.parts)


@dataclass(frozen=True, slots=True)
class Known:
    """A recipe that could be read, with what its words mean."""

    recipe: Recipe
    support: Support
    settings: Settings
    models: Models
    given: tuple[Arg, ...]
    pairs: tuple[Pairs, ...]

    @property
    def precision(self) -> str:
        """--mixed_precision; the trainer's default is the text "no"."""
        return str(self.settings.get("mixed_precision") or "no")
