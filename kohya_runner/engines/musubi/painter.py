"""How musubi-tuner's generators paint.

They are asked in their interactive mode: ``--from_file`` ends well without a picture, and FLUX.2's merges a LoRA twice
there (src/musubi_tuner/flux_2_generate_image.py:326 and :944). Their prompt lines know no guidance.
"""

from __future__ import annotations

from collections.abc import Callable

from kohya_runner.engines.painting import Base, Painter, PaintJob, PictureRequest

FOLDER = "src/musubi_tuner"
SWITCHES = ("fp8_scaled", "use_pinned_memory_for_block_swap")
MORE = ("fp8_text_encoder", "disable_numpy_memmap")
"""Of the training's own; fp8_base alone is ``--fp8`` there, which Kontext's script cannot do (:302)."""


def _kontext(base: Base, job: PaintJob) -> tuple[str, ...]:
    """The control picture comes in the size that is painted, as in training, and is not to be changed again."""
    parts = _parts(base, job, "vae", "text_encoder1", "text_encoder2")
    return (*parts, "--no_resize_control", f"--embedded_cfg_scale={job.guidance:g}")


def _flux2(base: Base, job: PaintJob) -> tuple[str, ...]:
    """Distilled variants read the one guidance (klein reads none), base ones the other."""
    version = base.text("model_version") or "dev"
    guidance = (f"--{name}={job.guidance:g}" for name in ("guidance_scale", "embedded_cfg_scale"))
    return (
        f"--model_version={version}", *_parts(base, job, "vae", "text_encoder"), "--no_resize_control",
        *base.switches(*MORE), *guidance,
    )  # fmt: skip


def _qwen_image(base: Base, job: PaintJob) -> tuple[str, ...]:
    """Without a negative prompt it fails (:634); " " is what the model's own example has."""
    return (*_guided("fp8_vl", "disable_numpy_memmap")(base, job), "--negative_prompt= ")


def _guided(*more: str) -> Callable[[Base, PaintJob], tuple[str, ...]]:
    """A script with one guidance, by classifier-free guidance; ``more`` are switches of the training's own."""
    return lambda base, job: (
        *base.given("model_version", "device"), *_parts(base, job, "vae", "text_encoder"), *base.switches(*more),
        f"--guidance_scale={job.guidance:g}",
    )  # fmt: skip


def _line(picture: PictureRequest) -> str:
    """A prompt, and the picture that it edits; the strength is merged in."""
    negative = f" --n {picture.negative}" if picture.negative else ""
    control = f" --ci {picture.control}" if picture.control else ""
    size = f"--w {picture.width} --h {picture.height} --s {picture.steps}"
    return f"{picture.prompt} {size} --d {picture.seed}{negative}{control}"


def _parts(base: Base, job: PaintJob, *names: str) -> tuple[str, ...]:
    return (
        f"--dit={base.model}", *base.given(*names, "blocks_to_swap"), *base.switches(*SWITCHES), *job.merged,
        "--attn_mode=torch", f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip


PAINTERS: tuple[Painter, ...] = (
    Painter("flux_kontext", f"{FOLDER}/flux_kontext_generate_image.py", _kontext, _line, merged=True,
            multiple=16, guidance=2.5, controls="needed", trainer="musubi-tuner"),
    Painter("flux2", f"{FOLDER}/flux_2_generate_image.py", _flux2, _line, merged=True, multiple=16,
            guidance=4.0, controls="optional", trainer="musubi-tuner"),
    Painter("krea2", f"{FOLDER}/krea2_generate_image.py", _guided("block_swap_h2d_only"), _line, merged=True,
            each=True, multiple=16, guidance=5.5, trainer="musubi-tuner"),
    Painter("z_image", f"{FOLDER}/zimage_generate_image.py", _guided("fp8_llm", "disable_numpy_memmap"), _line,
            merged=True, multiple=16, guidance=0.0, networks=True, trainer="musubi-tuner"),
    *(
        Painter(family, f"{FOLDER}/qwen_image_generate_image.py", _qwen_image, _line,
                merged=True, multiple=16, guidance=4.0, controls=controls, networks=True, trainer="musubi-tuner")
        for family, controls in (("qwen_image", ""), ("qwen_image_edit", "needed"))
    ),
)  # fmt: skip
