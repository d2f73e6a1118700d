"""The rows of musubi-tuner: LoRAs for the two families that edit pictures by instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENGINE = "musubi-tuner"
CLIP_L, T5_XXL = "openai/clip-vit-large-patch14", "google/t5-v1_1-xxl"  # flux/flux_utils.py:22

LATENTS, TEXTS = "caching latents", "caching text encoder outputs"
"""The phases of the stages; ``diagnosis/progress.py`` knows them of sd-scripts, too."""

BEFORE: Mapping[str, Any] = {"cache_latents": True, "cache_text_encoder_outputs": True, "network_train_unet_only": True}
"""The training reads nothing but caches: no text encoder, no autoencoder (training/trainer_base.py:1443)."""

ADDED: Mapping[str, Any] = {"optimizer_type": "AdamW", "mixed_precision": "bf16", "seed": 42}
"""Without an optimizer it fails once the model is loaded (trainer_base.py:163), in fp16 or fp32 at the first step."""

COMMON: Mapping[str, Any] = {
    "method": "lora", "hub_model": False, "bucket_step": 16, "data": "controls", "regularization": False,
    "engine": ENGINE, "model_option": "dit", "added": ADDED, "implied": BEFORE, "sequences": 2,
}  # fmt: skip

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


def rows(component: Callable[..., Any], stage: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """The fields of each row, in the order in which they are shown."""
    yield {
        **COMMON,
        "family": "flux_kontext",
        "title": "FLUX.1 Kontext",
        "script": "flux_kontext_train_network.py",
        "network_module": "networks.lora_flux",
        "components": (
            component("vae", "the autoencoder of FLUX.1 (ae.safetensors)"),
            component("text_encoder1", "the T5-XXL text encoder, one safetensors file"),
            component("text_encoder2", "the CLIP-L text encoder, one safetensors file"),
        ),
        "tokenizers": (CLIP_L, T5_XXL),
        "modules": {"text_encoder": 0, "unet": 228},
        "needs_control": True,
        "recipe": "recipes/flux_kontext_lora.yaml",
        "stages": (
            stage(LATENTS, "flux_kontext_cache_latents.py", ("vae",)),
            stage(TEXTS, "flux_kontext_cache_text_encoder_outputs.py", ("text_encoder1", "text_encoder2"), ("fp8_t5",)),
        ),
    }
    yield {
        **COMMON,
        "family": "flux2",
        "title": "FLUX.2",
        "script": "flux_2_train_network.py",
        "network_module": "networks.lora_flux_2",
        "components": (
            component("vae", "the autoencoder of FLUX.2 (ae.safetensors)"),
            component("text_encoder", "Mistral 3 for dev, Qwen3 4B or 8B for klein; of several files the first"),
        ),
        "modules": {"text_encoder": 0, "unet": 160},  # dev; 80 of klein 4B, 112 of klein 9B
        "recipe": "recipes/flux2_klein_lora.yaml",
        "variants": VARIANTS,
        "variant_tokenizers": TOKENIZERS,
        "stages": (
            stage(LATENTS, "flux_2_cache_latents.py", ("vae",), ("model_version", "vae_dtype")),
            stage(
                TEXTS, "flux_2_cache_text_encoder_outputs.py", ("text_encoder",), ("model_version", "fp8_text_encoder")
            ),
        ),
    }
