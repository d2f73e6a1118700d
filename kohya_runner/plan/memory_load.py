"""What a plan asks of memory: the LoRA, the largest bucket, and the caches that are kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.method_space import method_shape, trains_half
from kohya_runner.machine.memory.memory_checks import Load
from kohya_runner.machine.memory.method_sizes import trained_parameters
from kohya_runner.machine.memory.sizes import LoraShape, latent_bytes, text_bytes, text_tokens
from kohya_runner.plan.space import shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kohya_runner.artefact.model_inspection import Inspected
    from kohya_runner.engines.settings import Settings
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Support


def load_of(settings: Settings, support: Support, *, steps: StepsPlan, files: Iterable[Inspected] = ()) -> Load:
    """For ``memory_plan``; without pictures the largest bucket has no pixels."""
    whole = support.output != "lora"
    method = method_shape(settings, support)
    lora = LoraShape(support.family, dim=0, text_encoder=method.text) if whole else shape(settings, support)
    return Load(
        lora=lora,
        trained=trained_parameters(method) if whole else None,
        whole=support.output == "model",
        half=whole and trains_half(settings, support),
        pixels=support.sequences * max((b.width * b.height for b in steps.buckets), default=0),
        cached=_latents(settings, support, steps) + _texts(settings, support, steps),
        dtypes={seen.slot: seen.dtype for seen in files if seen.dtype},
    )


def _latents(settings: Settings, support: Support, steps: StepsPlan) -> int:
    if not settings.on("cache_latents") or settings.on("cache_latents_to_disk"):
        return 0
    flip, alpha = settings.on("flip_aug"), settings.on("alpha_mask")
    each = ((b, latent_bytes(support.family, b.width, b.height, flip=flip, alpha_mask=alpha)) for b in steps.buckets)
    return sum(bucket.images * (size or 0) for bucket, size in each)


def _texts(settings: Settings, support: Support, steps: StepsPlan) -> int:
    if not settings.on("cache_text_encoder_outputs") or settings.on("cache_text_encoder_outputs_to_disk"):
        return 0
    tokens = text_tokens(support.family, settings.get)
    one = text_bytes(support.family, max_tokens=tokens, fp16=settings.get("mixed_precision") == "fp16")
    return sum(bucket.images for bucket in steps.buckets) * (one or 0)
