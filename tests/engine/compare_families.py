"""How each family is swept, and how one of its pictures is made alone, by the unmodified script and nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS, SIDE, SEED, GUIDANCE = 2, 64, 11, 4.0
PROMPTS = ("a cat, 'quoted' (really:1.2)", "portrait of bespoke punk")
NEGATIVE = "blurry"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture by a process of its own; no ``lora`` is the base model."""

    models: Path
    lora: Path | None
    prompt: str
    out: Path

    def file(self, name: str) -> Path:
        return self.models / f"{name}.safetensors"


@dataclass(frozen=True, slots=True)
class Swept:
    """``loaded`` stands in the log once for every load of what a LoRA does not go into."""

    name: str
    family: str
    script: str
    alone: Callable[[Picture], tuple[str, ...]]
    loaded: str
    model: str = "dit"
    parts: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # further options of the sweep
    side: int = SIDE

    def options(self, models: Path) -> tuple[str, ...]:
        """Of ``kohya-runner compare``."""
        tokenizers = models / "tokenizers"
        own = (f"--component=tokenizer_cache_dir={tokenizers}",) if tokenizers.is_dir() else ()
        return (
            f"--family={self.family}", f"--model={models / self.model}.safetensors", *own,
            *(f"--component={part}={models / part}.safetensors" for part in self.parts),
            *(f"--prompt={prompt}" for prompt in PROMPTS), f"--negative={NEGATIVE}", f"--guidance={GUIDANCE}",
            f"--steps={STEPS}", f"--size={self.side}x{self.side}", f"--seeds={SEED}", *self.more,
        )  # fmt: skip


def _gen_img(*kind: str) -> Callable[[Picture], tuple[str, ...]]:
    def arguments(one: Picture) -> tuple[str, ...]:
        network = ("--network_module", "networks.lora", "--network_weights", str(one.lora)) if one.lora else ()
        return (
            *kind, f"--ckpt={one.file('model')}", *network, "--sdpa", f"--outdir={one.out}",
            f"--tokenizer_cache_dir={one.models / 'tokenizers'}", f"--steps={STEPS}", f"--W={SIDE}", f"--H={SIDE}",
            f"--prompt={one.prompt} --d {SEED} --l {GUIDANCE} --n {NEGATIVE}",
        )  # fmt: skip

    return arguments


def _flux(one: Picture) -> tuple[str, ...]:
    parts = (f"--{part}={one.file(part)}" for part in ("clip_l", "t5xxl", "ae"))
    return (
        f"--ckpt_path={one.file('dit')}", *parts, "--dtype=float", f"--guidance={GUIDANCE}", *_shared(one),
        f"--width={SIDE}", f"--height={SIDE}", f"--steps={STEPS}",
    )  # fmt: skip


def _chroma(one: Picture) -> tuple[str, ...]:
    return (
        f"--ckpt_path={one.file('chroma')}", "--model_type=chroma", "--apply_t5_attn_mask",
        f"--t5xxl={one.file('t5xxl')}", f"--ae={one.file('ae')}", "--dtype=float", "--guidance=0",
        f"--cfg_scale={GUIDANCE}", *_shared(one),
        f"--width={SIDE}", f"--height={SIDE}", f"--steps={STEPS}",
    )  # fmt: skip


def _sd3(one: Picture) -> tuple[str, ...]:
    parts = (f"--{part}={one.file(part)}" for part in ("clip_l", "clip_g", "t5xxl"))
    return (
        f"--ckpt_path={one.file('dit')}", *parts, f"--cfg_scale={GUIDANCE}", *_shared(one), f"--width={SIDE}",
        f"--height={SIDE}", f"--steps={STEPS}",
    )  # fmt: skip


def _lumina(one: Picture) -> tuple[str, ...]:
    kinds = (f"--{name}=float" for name in ("dtype", "gemma2_dtype", "ae_dtype"))
    return (
        f"--pretrained_model_name_or_path={one.file('dit')}", f"--gemma2_path={one.file('gemma2')}",
        f"--ae_path={one.file('ae')}", *kinds, f"--guidance_scale={GUIDANCE}", *_shared(one), f"--image_width={SIDE}",
        f"--image_height={SIDE}", f"--steps={STEPS}",
    )  # fmt: skip


def _shared(one: Picture) -> tuple[str, ...]:
    network = ("--lora_weights", f"{one.lora};1.0") if one.lora else ()
    words = (f"--prompt={one.prompt}", f"--negative_prompt={NEGATIVE}", f"--seed={SEED}")
    return (*network, *words, f"--output_dir={one.out}")


def _merged(**parts: str) -> Callable[[Picture], tuple[str, ...]]:
    def arguments(one: Picture) -> tuple[str, ...]:
        network = ("--lora_weight", str(one.lora), "--lora_multiplier", "1.0") if one.lora else ()
        return (
            f"--dit={one.file('dit')}", *(f"--{name}={one.file(part)}" for name, part in parts.items()), *network,
            f"--prompt={one.prompt}", f"--negative_prompt={NEGATIVE}", f"--guidance_scale={GUIDANCE}",
            f"--seed={SEED}", f"--infer_steps={STEPS}", "--image_size", str(SIDE), str(SIDE), f"--save_path={one.out}",
        )  # fmt: skip

    return arguments


MINIMAL = "{}_minimal_inference.py"
ALL = (
    Swept("sd15", "sd15", "gen_img.py", _gen_img("--v1"), "load StableDiffusion checkpoint", "model"),
    Swept("sd2", "sd2", "gen_img.py", _gen_img("--v2"), "load StableDiffusion checkpoint", "model"),
    Swept("sdxl", "sdxl", "gen_img.py", _gen_img("--sdxl", "--no_half_vae"), "building U-Net", "model"),
    Swept("flux", "flux", MINIMAL.format("flux"), _flux, "Loading clip_l from", parts=("clip_l", "t5xxl", "ae")),
    Swept("chroma", "flux", MINIMAL.format("flux"), _chroma, "Loading t5xxl from", "chroma", ("t5xxl", "ae"),
          ("--component=model_type=chroma",)),
    Swept("sd3", "sd3", MINIMAL.format("sd3"), _sd3, "Loading SD3 models from", parts=("clip_l", "clip_g", "t5xxl")),
    Swept("lumina", "lumina", MINIMAL.format("lumina"), _lumina, "Loading models...", parts=("gemma2", "ae")),
    Swept("hunyuan_image", "hunyuan_image", MINIMAL.format("hunyuan_image"),
          _merged(text_encoder="text_encoder", byt5="byt5", vae="vae"), "Interactive mode. Enter prompts",
          parts=("text_encoder", "byt5", "vae")),
    Swept("anima", "anima", MINIMAL.format("anima"), _merged(text_encoder="qwen3", vae="vae"),
          "Interactive mode. Enter prompts", parts=("qwen3", "vae")),
)  # fmt: skip
