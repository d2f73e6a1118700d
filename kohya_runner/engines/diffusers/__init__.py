"""diffusers' InstructPix2Pix examples: SD 1.5 and SDXL that edit a picture by an instruction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import engine_info
from kohya_runner.engines.arguments import ParsedOptions, cadence
from kohya_runner.engines.protocol import Arranged, Engine, ResolvedRecipe
from kohya_runner.engines.support import Surprise, support, surprises
from kohya_runner.findings import Finding
from kohya_runner.record.run_paths import ResumeWay
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.recipe.load import Loaded

_TABLE = read_table(Path(__file__).with_name("trainer.toml"))
DIFFUSERS = engine_info(_TABLE["trainer"])

UNET = "unet/diffusion_pytorch_model.safetensors"
"""The trained part of the pipeline that the script leaves in its output folder, and of every checkpoint-N in it."""
CHANNELS = 8
"""Inputs of its first convolution: four of the noisy latents, four of the picture to edit."""

FAMILIES = tuple(
    support(family, row, holds=ExpectedTensor("conv_in.weight", CHANNELS), **_TABLE["both"])
    for family, row in _TABLE["families"].items()
)

CHECKPOINT = ResumeWay(
    needs=("resume_from_checkpoint",),
    sets=("resume_from_checkpoint",),
    folder=r"checkpoint-(?P<step>\d{{1,9}})",
    weights=UNET,
    steps_inside=True,
    bar="epoch",
)
"""train_instruct_pix2pix.py:820: the folder's own name says the step."""

CHECKPOINT_XL = replace(CHECKPOINT, needs=(*CHECKPOINT.needs, "pretrained_vae_model_name_or_path"), bar="on")
"""train_instruct_pix2pix_sdxl.py:921: it begins the epoch anew, and its bar at what is done."""


class DiffusersEngine(Engine):
    """What they decide in their own way; the members are those of ``Engine`` (protocol.py)."""

    INFO = DIFFUSERS
    FAMILIES = FAMILIES
    OWNED = _TABLE["owned"]
    RESUME_WAYS = (CHECKPOINT_XL, CHECKPOINT)

    @property
    def build(self) -> Any:
        from kohya_runner.engines.diffusers import build

        return build

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        from kohya_runner.engines.diffusers.rules import RULES

        return {"diffusers: InstructPix2Pix": RULES}

    def surprises(self) -> tuple[Surprise, ...]:
        return surprises(_TABLE["surprises"])

    def picture_rules(self, _: Loaded, __: ParsedOptions) -> Rules:
        from kohya_runner.dataset.trainer_view import Rules

        return Rules(takes_interpolation=False)

    def save_options(self, resolved: ResolvedRecipe, steps: StepsPlan | None, states: int) -> Mapping[str, Any]:
        """A checkpoint-N with each epoch that is worth one, and how many are kept; what the recipe says goes first."""
        if not states or steps is None:
            return {}
        each = steps.steps_per_epoch * cadence(steps.epochs)
        limits = {"checkpointing_steps": each, "checkpoints_total_limit": states}
        return {name: value for name, value in limits.items() if resolved.parsed.given.get(name) is None}

    def findings(self, resolved: ResolvedRecipe, arranged: Arranged, steps: StepsPlan | None) -> Iterable[Finding]:
        from kohya_runner.engines.diffusers import build
        from kohya_runner.engines.diffusers.rules import RULES
        from kohya_runner.engines.rule_context import context_of, evaluate

        return (*evaluate(context_of(resolved, steps), RULES), *build.own_findings(resolved, arranged.layout, steps))
