"""The trainer's own script that paints for each family, and its command: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines.musubi import painter as musubi
from kohya_runner.engines.sd_scripts import projections
from kohya_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kohya_runner.compare.cells import Cell, Column
    from kohya_runner.compare.settings import Settings
    from kohya_runner.compare.subject import Base

SAMPLERS = (
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
    "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
)  # fmt: skip
"""gen_img.py:3251; it takes one a process (:1706-1813)."""
WORKER = Path(__file__).with_name("sweep_worker.py")
FLOATS = {"bf16": "bf16", "fp16": "fp16"}
"""--mixed_precision of the training, and how the scripts call it; everything else is single precision."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a command needs besides the base model. ``small_gpu``: the models do not fit side by side."""

    jobs: Path
    outdir: Path
    weights: Path | None
    strength: float
    sampler: str
    small_gpu: bool = False
    guidance: float = 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """How a family's pictures are made: all of them in one process, where there is a choice of ``samplers`` one each.

    ``merged``: the script merges a LoRA while it loads, so the parts that a LoRA goes into are loaded again for each.
    ``multiple``: what both sides of a picture are a multiple of, in pixels.
    """

    family: str
    script: str
    arguments: Callable[[Base, Job], tuple[str, ...]]
    line: Callable[[Settings, Cell, Column], str]
    merged: bool = False
    hooked: bool = False  # the script itself loads our module; otherwise ours runs the script
    multiple: int = 8
    guidance: float = 7.5  # the script's own default
    samplers: tuple[str, ...] = ()
    controls: str = ""  # pictures to edit: "needed", "optional", "" for a script that takes none
    readable: Callable[[Path, Path], Path] = projections.as_it_is  # a LoRA as the script reads it, copied where need be
    trainer: str = "sd-scripts"  # whose script it is (engine_info.py)


def _gen_img(base: Base, job: Job) -> tuple[str, ...]:
    """gen_img.py: ``--network_weights`` makes the slot, the module given by ``--from_module`` fills it."""
    kind = {"sdxl": ("--sdxl", "--no_half_vae"), "sd2": ("--v2",)}.get(base.family, ("--v1",))
    return (
        *kind, *_switches(base, "v_parameterization", "zero_terminal_snr"), *_half(base),
        "--xformers" if base.on("xformers") else "--sdpa",
        f"--ckpt={base.model}", *_given(base, "vae", "clip_skip", "tokenizer_cache_dir"),
        f"--sampler={job.sampler}", "--batch_size=1", "--images_per_prompt=1", f"--outdir={job.outdir}",
        "--network_module", base.text("network_module") or "networks.lora",
        "--network_weights", str(job.weights), "--network_mul", "1.0",
        f"--from_module={WORKER}", f"--prompter_module_args={job.jobs}",
    )  # fmt: skip


def _flux(base: Base, job: Job) -> tuple[str, ...]:
    """flux_minimal_inference.py; with ``fp8_base`` the training held the model in 8 bit, so does this."""
    small = ("--flux_dtype=fp8",) if base.on("fp8_base") else ()
    chroma = ("--model_type=chroma",) if is_chroma(base) else ()
    # Chroma's model cannot do without the masks (library/chroma_models.py:699)
    masks = ("--apply_t5_attn_mask",) if chroma else _switches(base, "apply_t5_attn_mask")
    return (
        f"--ckpt_path={base.model}", *_given(base, "clip_l", "t5xxl", "ae"), f"--dtype={_float(base)}", *small, *chroma,
        *masks, *_offload(job), f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _sd3(base: Base, job: Job) -> tuple[str, ...]:
    masks = _switches(base, "apply_lg_attn_mask", "apply_t5_attn_mask")
    return (
        f"--ckpt_path={base.model}", *_given(base, "clip_l", "clip_g", "t5xxl"), *_half(base), *masks, *_offload(job),
        f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _lumina(base: Base, job: Job) -> tuple[str, ...]:
    kinds = (f"--{name}={_float(base)}" for name in ("dtype", "gemma2_dtype", "ae_dtype"))
    return (
        f"--pretrained_model_name_or_path={base.model}", f"--gemma2_path={base.text('gemma2')}",
        f"--ae_path={base.text('ae')}", *kinds, *_given(base, "discrete_flow_shift", "system_prompt"), *_offload(job),
        f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _hunyuan_image(base: Base, job: Job) -> tuple[str, ...]:
    return (
        f"--dit={base.model}", *_given(base, "text_encoder", "byt5", "vae", "blocks_to_swap", "vae_chunk_size"),
        *_switches(base, "fp8_scaled", "text_encoder_cpu"), *_merged(job), f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip


def _anima(base: Base, job: Job) -> tuple[str, ...]:
    return (
        f"--dit={base.model}", f"--text_encoder={base.text('qwen3')}", *_given(base, "vae", "vae_chunk_size"),
        *_switches(base, "vae_disable_cache"), *_merged(job), f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip


def _slotted(job: Job) -> tuple[str, ...]:
    """A LoRA whose weights are exchanged; none where the base model alone paints."""
    return ("--lora_weights", f"{job.weights};1.0") if job.weights else ()


def _merged(job: Job) -> tuple[str, ...]:
    """The first LoRA, merged when the models are loaded; none for the base column."""
    return ("--lora_weight", str(job.weights), "--lora_multiplier", f"{job.strength:g}") if job.strength else ()


def _given(base: Base, *names: str) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name in names if (value := base.text(name)) is not None)


def _switches(base: Base, *names: str) -> tuple[str, ...]:
    return tuple(f"--{name}" for name in names if base.on(name))


def _offload(job: Job) -> tuple[str, ...]:
    return ("--offload",) if job.small_gpu else ()


def _float(base: Base) -> str:
    return FLOATS.get(base.text("mixed_precision") or "no", "float")


def _half(base: Base) -> tuple[str, ...]:
    kind = FLOATS.get(base.text("mixed_precision") or "no")
    return (f"--{kind}",) if kind else ()


def _gen_img_line(settings: Settings, cell: Cell, column: Column) -> str:
    """Its prompt line (gen_img.py:2770-2960)."""
    negative = f" --n {settings.negative}" if settings.negative else ""
    size = f"--w {settings.width} --h {settings.height} --s {settings.steps} --l {settings.guidance:f}"
    strength = f"--am {column.strength:f} --f {cell.key}.png"
    return f"{settings.prompts[cell.prompt]} {size} --d {cell.seed} {strength}{negative}"


def _interactive(
    guidance: str, *, multiplier: bool = True, spelt: Callable[[str], str] = str
) -> Callable[[Settings, Cell, Column], str]:
    """The line of the minimal scripts' interactive mode; they differ in what they call the guidance."""

    def line(settings: Settings, cell: Cell, column: Column) -> str:
        negative = f" --n {spelt(settings.negative)}" if settings.negative else ""
        size = f"--w {settings.width} --h {settings.height} --s {settings.steps} --{guidance} {settings.guidance:g}"
        strength = f" --m {column.strength:f}" if multiplier else ""
        return f"{spelt(settings.prompts[cell.prompt])} {size} --d {cell.seed}{strength}{negative}"

    return line


def _escaped(text: str) -> str:
    """As anima_minimal_inference.py:343 reads prompts: it takes escape sequences for what they stand for."""
    return text.encode("unicode_escape").decode("ascii")


ENGINES: tuple[Engine, ...] = (
    *(Engine(family, "gen_img.py", _gen_img, _gen_img_line, hooked=True, samplers=SAMPLERS)
      for family in ("sd15", "sdxl")),
    Engine("sd2", "gen_img.py", _gen_img, _gen_img_line, hooked=True, samplers=SAMPLERS, readable=projections.linear),
    Engine("flux", "flux_minimal_inference.py", _flux, _interactive("g"), multiple=16, guidance=3.5),
    Engine("sd3", "sd3_minimal_inference.py", _sd3, _interactive("c"), multiple=16, guidance=5.0),
    Engine("lumina", "lumina_minimal_inference.py", _lumina, _interactive("g"), multiple=16, guidance=3.5),
    Engine("hunyuan_image", "hunyuan_image_minimal_inference.py", _hunyuan_image,
           _interactive("g", multiplier=False), merged=True, multiple=32, guidance=3.5),
    Engine("anima", "anima_minimal_inference.py", _anima, _interactive("g", multiplier=False, spelt=_escaped),
           merged=True, multiple=32, guidance=3.5),
    Engine("flux_kontext", musubi.KONTEXT, musubi.kontext, musubi.line, merged=True, multiple=16, guidance=2.5,
           controls="needed", trainer="musubi-tuner"),
    Engine("flux2", musubi.FLUX2, musubi.flux2, musubi.line, merged=True, multiple=16, guidance=4.0,
           controls="optional", trainer="musubi-tuner"),
)  # fmt: skip
CHROMA = Engine("flux", "flux_minimal_inference.py", _flux, _interactive("g 0 --c"), multiple=16, guidance=3.5)
"""FLUX without a distilled guidance: what a person calls guidance is its classifier-free guidance, --c."""


def is_chroma(base: Base) -> bool:
    """Whether a base model of the family flux is Chroma."""
    return base.family == "flux" and base.text("model_type") == "chroma"


def of_base(base: Base) -> Engine:
    """What paints with a base model.

    Raises:
        UsageError: nothing of the trainer paints for its family.
    """
    return CHROMA if is_chroma(base) else find(base.family)


def find(family: str) -> Engine:
    """The row of a family.

    Raises:
        UsageError: nothing of the trainer paints for it.
    """
    known = [engine.family for engine in ENGINES]
    for engine in ENGINES:
        if engine.family == family:
            return engine
    raise UsageError(f"family '{family}' cannot be compared", hint=f"choose from {', '.join(known)}")
