"""How musubi-tuner's generators paint for FLUX.1 Kontext and FLUX.2.

They are asked in their interactive mode: ``--from_file`` ends well without a picture, and FLUX.2's merges a LoRA twice
there (src/musubi_tuner/flux_2_generate_image.py:326 and :944). Their prompt lines know no guidance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kohya_runner.compare.cells import Cell, Column
    from kohya_runner.compare.settings import Settings
    from kohya_runner.compare.subject import Base
    from kohya_runner.engines.sd_scripts.painter import Job

KONTEXT = "src/musubi_tuner/flux_kontext_generate_image.py"
FLUX2 = "src/musubi_tuner/flux_2_generate_image.py"
SWITCHES = ("fp8_scaled", "use_pinned_memory_for_block_swap")
MORE = ("fp8_text_encoder", "disable_numpy_memmap")
"""Of the training's own; fp8_base alone is ``--fp8`` there, which Kontext's script cannot do (:302)."""


def kontext(base: Base, job: Job) -> tuple[str, ...]:
    """The control picture comes in the size that is painted, as in training, and is not to be changed again."""
    return (*_parts(base, job, "vae", "text_encoder1", "text_encoder2"), f"--embedded_cfg_scale={job.guidance:g}")


def flux2(base: Base, job: Job) -> tuple[str, ...]:
    """Distilled variants read the one guidance (klein reads none), base ones the other."""
    version = base.text("model_version") or "dev"
    guidance = (f"--{name}={job.guidance:g}" for name in ("guidance_scale", "embedded_cfg_scale"))
    more = (f"--{name}" for name in MORE if base.on(name))
    return (f"--model_version={version}", *_parts(base, job, "vae", "text_encoder"), *more, *guidance)


def line(settings: Settings, cell: Cell, column: Column) -> str:  # noqa: ARG001 - the strength is merged in
    """A prompt, and the picture that it edits."""
    negative = f" --n {settings.negative}" if settings.negative else ""
    control = f" --ci {settings.controls[cell.prompt]}" if settings.controls else ""
    size = f"--w {settings.width} --h {settings.height} --s {settings.steps}"
    return f"{settings.prompts[cell.prompt]} {size} --d {cell.seed}{negative}{control}"


def _parts(base: Base, job: Job, *names: str) -> tuple[str, ...]:
    """``--lora_multiplier`` goes with every ``--lora_weight``: its default is no list, and stops the script."""
    parts = (f"--{name}={value}" for name in (*names, "blocks_to_swap") if (value := base.text(name)) is not None)
    merged = ("--lora_weight", str(job.weights), "--lora_multiplier", f"{job.strength:g}") if job.strength else ()
    return (
        f"--dit={base.model}", *parts, *(f"--{name}" for name in SWITCHES if base.on(name)), *merged,
        "--attn_mode=torch", "--no_resize_control", f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip
