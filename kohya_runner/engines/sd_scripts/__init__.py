"""sd-scripts: the trainer of most families and methods, as ``trainer.toml`` says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import engine_info
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.protocol import Arranged, Engine, ResolvedRecipe
from kohya_runner.engines.support import INITIAL_STEP, KOHYA, REMAINING, Support, Surprise, converters, support
from kohya_runner.findings import Finding
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Source
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.dataset.token_count import Encoder
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.painting import Base, ClassPainter, Painter
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.recipe.load import Loaded

TABLE = read_table(Path(__file__).with_name("trainer.toml"))
SD_SCRIPTS = engine_info(TABLE["trainer"])


def rows(family: str, methods: Mapping[str, Mapping[str, Any]]) -> Iterator[Support]:
    """The LoRA of a family, then its other methods."""
    lora = support(family, methods["lora"], method="lora")
    yield lora
    yield from (_other(lora, method, row) for method, row in methods.items() if method != "lora")


def _other(lora: Support, method: str, row: Mapping[str, Any]) -> Support:
    said = TABLE["methods"][method] | row
    added = TABLE["methods"][method]["added"] | lora.added | row.get("added", {})
    no_lora = (
        {"network_module": "", "modules": None, "holds": ExpectedTensor(said["holds"])} if "output" in said else {}
    )
    recipe = f"recipes/{lora.family}_{method}.yaml"
    return replace(lora, method=method, recipe=recipe, **(said | no_lora | {"added": added}))


FAMILIES = tuple(row for family, methods in TABLE["families"].items() for row in rows(family, methods))

SAVES = 10
"""Checkpoints of a run that knows no epochs, where a recipe does not say how many."""


class SdScriptsEngine(Engine):
    """What it decides in its own way; the members are those of ``Engine`` (protocol.py)."""

    INFO = SD_SCRIPTS
    FAMILIES = FAMILIES
    ABSENT: ClassVar[Mapping[tuple[str, str], str]] = {
        (family, method): one["reason"]
        for one in TABLE["absent"]
        for method in one["methods"]
        for family in one["families"]
    }
    RESUME_WAYS = (INITIAL_STEP, REMAINING)
    CONVERTERS = converters(TABLE)
    BROKEN_RESUME = TABLE["broken_resume"]

    @property
    def build(self) -> Any:
        from kohya_runner.engines.sd_scripts import build

        return build

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        from kohya_runner.engines.sd_scripts.rules import SUBJECTS

        return SUBJECTS

    def surprises(self) -> tuple[Surprise, ...]:
        return KOHYA

    def picture_rules(self, _: Loaded, parsed: ParsedOptions) -> Rules:
        from kohya_runner.dataset.trainer_view import rules_from

        return rules_from(parsed.get)

    def dataset_rules(self, parsed: ParsedOptions, encoders: tuple[Encoder, ...] = ()) -> Callable[[Source], Rules]:
        from kohya_runner.engines.sd_scripts.dataset_config import rules_of

        return rules_of(parsed.get, encoders)

    def own_options(self, support: Support | None, options: Mapping[str, Any]) -> str:
        from kohya_runner.engines.sd_scripts.dataset_config import usable

        return usable(options) if support is None or support.takes_dataset_options else ""

    def dataset_findings(self, loaded: Loaded, support: Support, options: ScriptOptions) -> Iterable[Finding]:
        from kohya_runner.engines.sd_scripts import dataset_config

        return dataset_config.findings(loaded, support, options)

    def can_arrange(self, loaded: Loaded, parsed: ParsedOptions) -> bool:
        known = parsed.get("resolution") is not None or "resolution" not in parsed.options
        return known or loaded.each_has("resolution")

    def save_options(self, resolved: ResolvedRecipe, steps: StepsPlan | None, states: int) -> Mapping[str, Any]:
        if resolved.support.data != "prompts":
            return super().save_options(resolved, steps, states)
        every = max((steps.total if steps else 0) // SAVES, 1)
        return {} if resolved.parsed.given.get("save_every_n_steps") else {"save_every_n_steps": every}

    def findings(self, resolved: ResolvedRecipe, arranged: Arranged, steps: StepsPlan | None) -> Iterable[Finding]:
        from kohya_runner.engines.sd_scripts import build

        return build.findings(resolved, arranged.layout, steps)

    def largest(self, parsed: ParsedOptions, layout: Layout) -> ParsedOptions:
        from kohya_runner.engines.sd_scripts.dataset_config import heaviest

        return heaviest(parsed, layout.folders)

    def class_painters(self) -> tuple[ClassPainter, ...]:
        from kohya_runner.engines.sd_scripts.painter import CLASS_PAINTERS

        return CLASS_PAINTERS

    def painters(self) -> tuple[Painter, ...]:
        from kohya_runner.engines.sd_scripts.painter import PAINTERS

        return PAINTERS

    def painter(self, base: Base) -> Painter | None:
        from kohya_runner.engines.sd_scripts.painter import painter

        return painter(base)
