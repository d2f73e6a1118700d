"""diffusers' InstructPix2Pix examples: SD 1.5 and SDXL that edit a picture by an instruction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import PINS, EngineInfo
from kohya_runner.engines.arguments import Arg, ParsedOptions, cadence
from kohya_runner.engines.protocol import Arranged, Engine, Planned, ResolvedRecipe
from kohya_runner.engines.support import Support, Surprise
from kohya_runner.findings import Finding
from kohya_runner.record.run_paths import ResumeWay, RunPaths

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.recipe.load import Loaded

DIFFUSERS = EngineInfo(
    name="diffusers",
    title="diffusers examples",
    repository="https://github.com/huggingface/diffusers.git",
    commit="e8aacda762e311505ba05ae340af23b149e37af3",
    marks=("examples/instruct_pix2pix/train_instruct_pix2pix.py",),
    setting="diffusers",
    python_setting="diffusers_python",
    size="35 MiB without its history, about a minute",
    folder="examples/instruct_pix2pix",
    scripts=("train_instruct_pix2pix.py", "train_instruct_pix2pix_sdxl.py"),
    entry="parse_args",
    requirements=(
        *PINS, "transformers==4.54.1", "safetensors==0.4.5", "datasets==4.0.0", "ftfy==6.3.1", "tensorboard",
        "bitsandbytes",
    ),
    needed_modules=("torch", "torchvision", "diffusers", "datasets", "transformers"),
    snapshot="snapshot-diffusers.json",
    record="trainer-diffusers.json",
    says_epochs=False,
)  # fmt: skip
"""The examples of v0.32.1, which ask for the very diffusers that sd-scripts pins; a later datasets breaks them."""

UNET = "unet/diffusion_pytorch_model.safetensors"
"""The trained part of the pipeline that the script leaves in its output folder, and of every checkpoint-N in it."""
CHANNELS = 8
"""Inputs of its first convolution: four of the noisy latents, four of the picture to edit."""

SD15 = Support(
    family="sd15",
    method="instruct_pix2pix",
    title="Stable Diffusion 1.5",
    engine=DIFFUSERS.name,
    script="train_instruct_pix2pix.py",
    network_module="",
    data="edit",
    output="model",
    regularization=False,
    holds=ExpectedTensor("conv_in.weight", CHANNELS),
    # Without a seed the script fails before it loads anything (train_instruct_pix2pix.py:457, _sdxl.py:518).
    added={"seed": 42},
    recipe="recipes/sd15_instruct_pix2pix.yaml",
)
SDXL = replace(
    SD15,
    family="sdxl",
    title="Stable Diffusion XL",
    script="train_instruct_pix2pix_sdxl.py",
    recipe="recipes/sdxl_instruct_pix2pix.yaml",
)
FAMILIES = (SD15, SDXL)

OWNED: Mapping[str, str] = {
    "dataset_name": "write the pairs as 'datasets'",
    "dataset_config_name": "write the pairs as 'datasets'",
    "cache_dir": "the workspace's own cache is used",
    "hub_token": "a secret: set HF_TOKEN in the environment",
    "push_to_hub": "see: kohya-runner publish",
    "hub_model_id": "see: kohya-runner publish",
    "resume_from_checkpoint": "launch --resume sets it",
    "logging_dir": "the run's own folder is used; report_to says who writes there",
    "local_rank": "write launch.num_processes",
    "original_image_column": "the columns are written by the runner",
    "edited_image_column": "the columns are written by the runner",
    "edit_prompt_column": "the columns are written by the runner",
}
"""Options that the runner sets or that stand elsewhere in a recipe: what to write instead."""

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
    OWNED = OWNED
    RESUME_WAYS = (CHECKPOINT_XL, CHECKPOINT)

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

        return (*evaluate(context_of(resolved, steps), RULES), *build.own_findings(resolved, arranged.layout, steps))
