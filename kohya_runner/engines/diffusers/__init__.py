"""diffusers' InstructPix2Pix examples: SD 1.5 and SDXL that edit a picture by an instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.engines.arguments import cadence
from kohya_runner.engines.diffusers import families
from kohya_runner.engines.protocol import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.arguments import Arg, ParsedOptions
    from kohya_runner.engines.protocol import Arranged, Planned, ResolvedRecipe
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Surprise
    from kohya_runner.findings import Finding
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.record.run_paths import RunPaths


class DiffusersEngine(Engine):
    """What they decide in their own way; the members are those of ``Engine`` (protocol.py)."""

    INFO = families.DIFFUSERS
    FAMILIES = families.FAMILIES
    OWNED = families.OWNED
    RESUME_WAYS = (families.CHECKPOINT_XL, families.CHECKPOINT)

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        from kohya_runner.engines.diffusers.rules import RULES

        return {"diffusers: InstructPix2Pix": RULES}

    def surprises(self) -> tuple[Surprise, ...]:
        from kohya_runner.engines.diffusers.rules import SURPRISES

        return SURPRISES

    def picture_rules(self, _: Loaded, __: ParsedOptions) -> Rules:
        from kohya_runner.dataset.trainer_view import Rules

        return Rules(takes_interpolation=False)

    def arrange(self, resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
        from kohya_runner.engines.diffusers import build

        return build.arrange(resolved, scans, tree)

    def save_options(self, resolved: ResolvedRecipe, steps: StepsPlan | None, states: int) -> Mapping[str, Any]:
        """A checkpoint-N with each epoch that is worth one, and how many are kept; what the recipe says goes first."""
        if not states or steps is None:
            return {}
        each = steps.steps_per_epoch * cadence(steps.epochs)
        wished = {"checkpointing_steps": each, "checkpoints_total_limit": states}
        return {name: value for name, value in wished.items() if resolved.parsed.given.get(name) is None}

    def steps(self, resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
        from kohya_runner.engines.diffusers import build

        return build.steps(resolved, layout, values)

    def arguments(
        self, resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
    ) -> tuple[Arg, ...]:
        from kohya_runner.engines.diffusers import build

        return build.arguments(resolved, arranged.layout, run, saving)

    def findings(self, resolved: ResolvedRecipe, arranged: Arranged, steps: StepsPlan | None) -> Iterable[Finding]:
        from kohya_runner.engines.diffusers import build
        from kohya_runner.engines.diffusers.rules import RULES
        from kohya_runner.engines.rule_context import context_of, evaluate

        return (
            *evaluate(context_of(resolved, steps), RULES),
            *build.own_findings(resolved, arranged.layout, steps),
        )
