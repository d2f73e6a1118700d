"""musubi-tuner: LoRAs for FLUX.1 Kontext, FLUX.2, Krea 2, Z-Image and Qwen-Image, and whole models of the last two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import engine_info
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.protocol import Arranged, EarlierStage, Engine, ResolvedRecipe
from kohya_runner.engines.support import KOHYA, REMAINING, Support, Surprise, converters, support
from kohya_runner.findings import Finding
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.painting import Painter
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.recipe.load import Loaded

TABLE = read_table(Path(__file__).with_name("trainer.toml"))
MUSUBI_TUNER = engine_info(TABLE["trainer"])


def _rows(family: str, row: Mapping[str, Any]) -> Iterator[Support]:
    """The LoRA of a family, and its whole model where there is a script; ``like`` another, but for what it says."""
    said = {**TABLE["families"].get(row.get("like"), {}), **row}
    own, whole = {k: v for k, v in said.items() if k not in ("like", "finetune")}, said.get("finetune")
    yield support(family, own, **TABLE["both"])
    if whole:
        more = own | TABLE["finetune"] | whole | {"holds": ExpectedTensor(whole["holds"])}
        yield support(
            family, {k: v for k, v in more.items() if k != "modules"}, **TABLE["both"] | {"method": "finetune"}
        )


FAMILIES = tuple(found for family, row in TABLE["families"].items() for found in _rows(family, row))
ABSENT: Mapping[tuple[str, str], str] = {
    (lora.family, method): f"musubi-tuner has no script for {lora.title} with this method"
    for lora in FAMILIES
    for method in ("finetune", "dreambooth", "controlnet", "lllite", "textual_inversion")
    if lora.is_lora and (lora.family, method) not in {row.key for row in FAMILIES}
}
"""Pairs that it has no script for, with the reason."""


class MusubiEngine(Engine):
    """What it decides in its own way; the members are those of ``Engine`` (protocol.py)."""

    INFO = MUSUBI_TUNER
    FAMILIES = FAMILIES
    ABSENT = ABSENT
    OWNED = TABLE["owned"]
    RESUME_WAYS = (REMAINING,)
    CONVERTERS = converters(TABLE)
    OTHERS = TABLE["others"]

    @property
    def build(self) -> Any:
        from kohya_runner.engines.musubi import build

        return build

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        from kohya_runner.engines.musubi.rules import RULES

        return {"musubi-tuner": RULES}

    def surprises(self) -> tuple[Surprise, ...]:
        """Its parser knows guidance_scale, and its training does not look at it (flux_kontext_train_network.py:346)."""
        return tuple(row for row in KOHYA if row.option != "guidance_scale")

    def picture_rules(self, loaded: Loaded, _: ParsedOptions) -> Rules:
        from kohya_runner.engines.musubi import build

        return build.picture_rules(loaded)

    def dataset_findings(self, _: Loaded, __: Support, ___: ScriptOptions) -> Iterable[Finding]:
        return ()  # they are read with the dataset config

    def stages(self, resolved: ResolvedRecipe, arranged: Arranged) -> tuple[EarlierStage, ...]:
        from kohya_runner.engines.musubi import build

        return tuple(build.stage(resolved, row, arranged.files[0].path) for row in resolved.support.stages)

    def painters(self) -> tuple[Painter, ...]:
        from kohya_runner.engines.musubi.painter import PAINTERS

        return PAINTERS
