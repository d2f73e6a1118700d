"""musubi-tuner: LoRAs for FLUX.1 Kontext and FLUX.2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engine_info import PINS, EngineInfo
from kohya_runner.engines.arguments import Arg, ParsedOptions
from kohya_runner.engines.protocol import Arranged, EarlierStage, Engine, Planned, ResolvedRecipe
from kohya_runner.engines.support import CLIP_L, REMAINING, T5_XXL, Component, StageRow, Support, Surprise
from kohya_runner.findings import Finding
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.painting import Painter
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.recipe.load import Loaded

MUSUBI_TUNER = EngineInfo(
    name="musubi-tuner",
    title="musubi-tuner",
    repository="https://github.com/kohya-ss/musubi-tuner.git",
    commit="30c658c4f4b0bf05038b3346eff9670259b10fc7",
    marks=("src/musubi_tuner/flux_kontext_train_network.py", "src/musubi_tuner/training/parser_common.py"),
    setting="musubi_tuner",
    python_setting="musubi_python",
    size="10 MiB, well under a minute",
    folder="src/musubi_tuner",
    imports="src",
    scripts=(
        "flux_2_cache_latents.py",
        "flux_2_cache_text_encoder_outputs.py",
        "flux_2_train_network.py",
        "flux_kontext_cache_latents.py",
        "flux_kontext_cache_text_encoder_outputs.py",
        "flux_kontext_train_network.py",
    ),
    entry="main",
    requirements=(
        *PINS, "av==14.0.1", "bitsandbytes", "einops==0.7.0", "opencv-python==4.10.0.84", "pillow>=11.3.0",
        "safetensors==0.4.5", "toml==0.10.2", "tqdm==4.67.1", "transformers==4.57.6", "voluptuous==0.15.2",
        "ftfy==6.3.1", "easydict==1.13", "sentencepiece==0.2.1", "tensorboard",
    ),
    needed_modules=("torch", "torchvision", "musubi_tuner.training.trainer_base", "musubi_tuner.networks.lora"),
    snapshot="snapshot-musubi-tuner.json",
    record="trainer-musubi-tuner.json",
)  # fmt: skip
"""The requirements are those of its pyproject.toml, and tensorboard for --log_with."""


LATENTS, TEXTS = "caching latents", "caching text encoder outputs"
"""The phases of the stages; ``diagnosis/progress.py`` knows them of sd-scripts, too."""

BEFORE: Mapping[str, Any] = {"cache_latents": True, "cache_text_encoder_outputs": True, "network_train_unet_only": True}
"""The training reads nothing but caches: no text encoder, no autoencoder (training/trainer_base.py:1443)."""

ADDED: Mapping[str, Any] = {"optimizer_type": "AdamW", "mixed_precision": "bf16", "seed": 42}
"""Without an optimizer it fails once the model is loaded (trainer_base.py:163), in fp16 or fp32 at the first step."""

VARIANTS: Mapping[str, str] = {
    "dev": "flux2", "klein-4b": "flux2_klein_4b", "klein-base-4b": "flux2_klein_4b", "klein-9b": "flux2_klein_9b",
    "klein-base-9b": "flux2_klein_9b",
}  # fmt: skip
"""--model_version -> the architecture it shares (flux_2/flux2_utils.py:68)."""

TOKENIZERS: Mapping[str, str] = {
    "flux2": "mistralai/Mistral-Small-3.1-24B-Instruct-2503", "flux2_klein_4b": "Qwen/Qwen3-4B",
    "flux2_klein_9b": "Qwen/Qwen3-8B",
}  # fmt: skip
"""By architecture (flux_2/flux2_utils.py:48 and :814)."""


KONTEXT = Support(
    engine=MUSUBI_TUNER.name,
    method="lora",
    hub_model=False,
    bucket_step=16,
    data="controls",
    regularization=False,
    model_option="dit",
    added=ADDED,
    implied=BEFORE,
    sequences=2,
    family="flux_kontext",
    title="FLUX.1 Kontext",
    script="flux_kontext_train_network.py",
    network_module="networks.lora_flux",
    components=(
        Component("vae", "the autoencoder of FLUX.1 (ae.safetensors)"),
        Component("text_encoder1", "the T5-XXL text encoder, one safetensors file"),
        Component("text_encoder2", "the CLIP-L text encoder, one safetensors file"),
    ),
    tokenizers=(CLIP_L, T5_XXL),
    modules={"text_encoder": 0, "unet": 228},
    needs_control=True,
    recipe="recipes/flux_kontext_lora.yaml",
    stages=(
        StageRow(LATENTS, "flux_kontext_cache_latents.py", ("vae",)),
        StageRow(TEXTS, "flux_kontext_cache_text_encoder_outputs.py", ("text_encoder1", "text_encoder2"), ("fp8_t5",)),
    ),
)
FLUX2 = replace(
    KONTEXT,
    needs_control=False,
    tokenizers=(),
    family="flux2",
    title="FLUX.2",
    script="flux_2_train_network.py",
    network_module="networks.lora_flux_2",
    components=(
        Component("vae", "the autoencoder of FLUX.2 (ae.safetensors)"),
        Component("text_encoder", "Mistral 3 for dev, Qwen3 4B or 8B for klein; of several files the first"),
    ),
    modules={"text_encoder": 0, "unet": 160},  # dev; 80 of klein 4B, 112 of klein 9B
    recipe="recipes/flux2_klein_lora.yaml",
    variants=VARIANTS,
    variant_tokenizers=TOKENIZERS,
    stages=(
        StageRow(LATENTS, "flux_2_cache_latents.py", ("vae",), ("model_version", "vae_dtype")),
        StageRow(
            TEXTS, "flux_2_cache_text_encoder_outputs.py", ("text_encoder",), ("model_version", "fp8_text_encoder")
        ),
    ),
)
FAMILIES = (KONTEXT, FLUX2)

NO_SCRIPT = "musubi-tuner has no script for FLUX.1 Kontext and FLUX.2 but those that train a LoRA"
ABSENT: Mapping[tuple[str, str], str] = {
    (row.family, method): NO_SCRIPT
    for row in FAMILIES
    for method in ("finetune", "dreambooth", "controlnet", "lllite", "textual_inversion")
}
"""Pairs that it has no script for, with the reason."""

OF_DATASETS = (
    "resolution", "batch_size", "enable_bucket", "bucket_no_upscale", "no_resize_control", "control_resolution",
)  # fmt: skip
OWNED: Mapping[str, str] = {
    "dit": "write it as 'model'",
    **{name: f"write it as datasets[].options.{name}" for name in OF_DATASETS},
    "train_batch_size": "write it as datasets[].options.batch_size",
    "num_repeats": "write it as datasets[].repeats",
    "caption_extension": "write it as datasets[].captions.extension",
    "cache_latents": "latents are always cached: it is the first stage of the run",
    "cache_text_encoder_outputs": "they are always cached: it is the second stage of the run",
    "dataset_config": "write the folders as 'datasets', and their options as datasets[].options",
    "device": "the trainer takes the GPU where there is one",
    "save_model_as": "this trainer writes safetensors and nothing else",
    "show_timesteps": "it shows a picture and trains nothing",
}
"""Options that the runner sets or that stand elsewhere in a recipe: what to write instead."""


class MusubiEngine(Engine):
    """What it decides in its own way; the members are those of ``Engine`` (protocol.py)."""

    INFO = MUSUBI_TUNER
    FAMILIES = FAMILIES
    ABSENT = ABSENT
    OWNED = OWNED
    RESUME_WAYS = (REMAINING,)

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        from kohya_runner.engines.musubi.rules import RULES

        return {"musubi-tuner: FLUX.1 Kontext and FLUX.2": RULES}

    def surprises(self) -> tuple[Surprise, ...]:
        """Its parser knows guidance_scale, and its training does not look at it (flux_kontext_train_network.py:346)."""
        from kohya_runner.engines.support import KOHYA

        return tuple(row for row in KOHYA if row.option != "guidance_scale")

    def picture_rules(self, loaded: Loaded, _: ParsedOptions) -> Rules:
        from kohya_runner.engines.musubi import build

        return build.picture_rules(loaded)

    def dataset_findings(self, _: Loaded, __: Support, ___: ScriptOptions) -> Iterable[Finding]:
        return ()  # they are read with the dataset config

    def arrange(self, resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
        from kohya_runner.engines.musubi import build

        return build.arrange(resolved, scans, tree)

    def steps(self, resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
        from kohya_runner.engines.musubi import build

        return build.steps(resolved, layout, values)

    def arguments(
        self, resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
    ) -> tuple[Arg, ...]:
        from kohya_runner.engines.musubi import build

        return build.arguments(resolved, arranged, run, saving)

    def stages(self, resolved: ResolvedRecipe, arranged: Arranged) -> tuple[EarlierStage, ...]:
        from kohya_runner.engines.musubi import build

        return tuple(build.stage(resolved, row, arranged.files[0].path) for row in resolved.support.stages)

    def painters(self) -> tuple[Painter, ...]:
        from kohya_runner.engines.musubi.painter import PAINTERS

        return PAINTERS
