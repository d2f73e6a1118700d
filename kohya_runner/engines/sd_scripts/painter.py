"""sd-scripts' own script that paints for each family, and its command: one row each."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.painting import WORKER, Painter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kohya_runner.engines.painting import Base, PaintJob, PictureRequest

SAMPLERS = (
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
    "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
)  # fmt: skip
"""gen_img.py:3251; it takes one a process (:1706-1813)."""
FLOATS = {"bf16": "bf16", "fp16": "fp16"}
"""--mixed_precision of the training, and how the scripts call it; everything else is single precision."""


def _gen_img(base: Base, job: PaintJob) -> tuple[str, ...]:
    """gen_img.py: ``--network_weights`` makes the slot, the module given by ``--from_module`` fills it."""
    kind = {"sdxl": ("--sdxl", "--no_half_vae"), "sd2": ("--v2",)}.get(base.family, ("--v1",))
    return (
        *kind, *base.switches("v_parameterization", "zero_terminal_snr"), *_half(base),
        "--xformers" if base.on("xformers") else "--sdpa",
        f"--ckpt={base.model}", *base.given("vae", "clip_skip", "tokenizer_cache_dir"),
        f"--sampler={job.sampler}", "--batch_size=1", "--images_per_prompt=1", f"--outdir={job.outdir}",
        "--network_module", base.text("network_module") or "networks.lora",
        "--network_weights", str(job.weights), "--network_mul", "1.0",
        f"--from_module={WORKER}", f"--prompter_module_args={job.jobs}",
    )  # fmt: skip


def _flux(base: Base, job: PaintJob) -> tuple[str, ...]:
    """flux_minimal_inference.py; with ``fp8_base`` the training held the model in 8 bit, so does this."""
    small = ("--flux_dtype=fp8",) if base.on("fp8_base") else ()
    chroma = ("--model_type=chroma",) if is_chroma(base) else ()
    # Chroma's model cannot do without the masks (library/chroma_models.py:699)
    masks = ("--apply_t5_attn_mask",) if chroma else base.switches("apply_t5_attn_mask")
    return (
        f"--ckpt_path={base.model}", *base.given("clip_l", "t5xxl", "ae"), f"--dtype={_float(base)}", *small, *chroma,
        *masks, *_offload(job), f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _sd3(base: Base, job: PaintJob) -> tuple[str, ...]:
    masks = base.switches("apply_lg_attn_mask", "apply_t5_attn_mask")
    return (
        f"--ckpt_path={base.model}", *base.given("clip_l", "clip_g", "t5xxl"), *_half(base), *masks, *_offload(job),
        f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _lumina(base: Base, job: PaintJob) -> tuple[str, ...]:
    kinds = (f"--{name}={_float(base)}" for name in ("dtype", "gemma2_dtype", "ae_dtype"))
    return (
        f"--pretrained_model_name_or_path={base.model}", f"--gemma2_path={base.text('gemma2')}",
        f"--ae_path={base.text('ae')}", *kinds, *base.given("discrete_flow_shift", "system_prompt"), *_offload(job),
        f"--output_dir={job.outdir}", *_slotted(job), "--interactive",
    )  # fmt: skip


def _hunyuan_image(base: Base, job: PaintJob) -> tuple[str, ...]:
    return (
        f"--dit={base.model}", *base.given("text_encoder", "byt5", "vae", "blocks_to_swap", "vae_chunk_size"),
        *base.switches("fp8_scaled", "text_encoder_cpu"), *job.merged, f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip


def _anima(base: Base, job: PaintJob) -> tuple[str, ...]:
    return (
        f"--dit={base.model}", f"--text_encoder={base.text('qwen3')}", *base.given("vae", "vae_chunk_size"),
        *base.switches("vae_disable_cache"), *job.merged, f"--save_path={job.outdir}", "--interactive",
    )  # fmt: skip


def _slotted(job: PaintJob) -> tuple[str, ...]:
    """A LoRA whose weights are exchanged; none where the base model alone paints."""
    return ("--lora_weights", f"{job.weights};1.0") if job.weights else ()


def _offload(job: PaintJob) -> tuple[str, ...]:
    return ("--offload",) if job.small_gpu else ()


def _float(base: Base) -> str:
    return FLOATS.get(base.text("mixed_precision") or "no", "float")


def _half(base: Base) -> tuple[str, ...]:
    kind = FLOATS.get(base.text("mixed_precision") or "no")
    return (f"--{kind}",) if kind else ()


def _gen_img_line(picture: PictureRequest) -> str:
    """Its prompt line (gen_img.py:2770-2960)."""
    negative = f" --n {picture.negative}" if picture.negative else ""
    size = f"--w {picture.width} --h {picture.height} --s {picture.steps} --l {picture.guidance:f}"
    strength = f"--am {picture.strength:f} --f {picture.key}.png"
    return f"{picture.prompt} {size} --d {picture.seed} {strength}{negative}"


def _interactive(
    guidance: str, *, multiplier: bool = True, spelt: Callable[[str], str] = str
) -> Callable[[PictureRequest], str]:
    """The line of the minimal scripts' interactive mode; they differ in what they call the guidance."""

    def line(picture: PictureRequest) -> str:
        negative = f" --n {spelt(picture.negative)}" if picture.negative else ""
        size = f"--w {picture.width} --h {picture.height} --s {picture.steps} --{guidance} {picture.guidance:g}"
        strength = f" --m {picture.strength:f}" if multiplier else ""
        return f"{spelt(picture.prompt)} {size} --d {picture.seed}{strength}{negative}"

    return line


def _escaped(text: str) -> str:
    """As anima_minimal_inference.py:343 reads prompts: it takes escape sequences for what they stand for."""
    return text.encode("unicode_escape").decode("ascii")


PROJECTIONS = ("_proj_in.lora_", "_proj_out.lora_")
PIXEL = [1, 1]


def linear(path: Path, folder: Path) -> Path:
    """A LoRA of SD 2 as gen_img.py reads it: the file itself, or a copy in the folder whose projections are linear.

    The training builds the U-Net's projections as convolutions of one pixel (library/train_util.py:5525), gen_img.py as
    linear layers (library/model_util.py:1002): it stops at the two sides that the tensors have more. The numbers are
    the same.
    """
    with path.open("rb") as file:
        rows = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        flat = {name: _flat(name, row) for name, row in rows.items()}
        if flat == rows:
            return path
        copy = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.safetensors"
        told = json.dumps(flat).encode()
        with copy.open("wb") as out:
            out.write(len(told).to_bytes(8, "little") + told)
            shutil.copyfileobj(file, out)
    return copy


def _flat(name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    projects = any(part in name for part in PROJECTIONS)
    return {**row, "shape": row["shape"][:2]} if projects and row["shape"][2:] == PIXEL else row


PAINTERS: tuple[Painter, ...] = (
    *(Painter(family, "gen_img.py", _gen_img, _gen_img_line, hooked=True, samplers=SAMPLERS)
      for family in ("sd15", "sdxl")),
    Painter("sd2", "gen_img.py", _gen_img, _gen_img_line, hooked=True, samplers=SAMPLERS, readable=linear),
    Painter("flux", "flux_minimal_inference.py", _flux, _interactive("g"), multiple=16, guidance=3.5),
    Painter("sd3", "sd3_minimal_inference.py", _sd3, _interactive("c"), multiple=16, guidance=5.0),
    Painter("lumina", "lumina_minimal_inference.py", _lumina, _interactive("g"), multiple=16, guidance=3.5),
    Painter("hunyuan_image", "hunyuan_image_minimal_inference.py", _hunyuan_image,
            _interactive("g", multiplier=False), merged=True, multiple=32, guidance=3.5),
    Painter("anima", "anima_minimal_inference.py", _anima, _interactive("g", multiplier=False, spelt=_escaped),
            merged=True, multiple=32, guidance=3.5),
)  # fmt: skip
CHROMA = Painter("flux", "flux_minimal_inference.py", _flux, _interactive("g 0 --c"), multiple=16, guidance=3.5,
                 needs_negative=True)  # fmt: skip
"""FLUX without a distilled guidance: what a person calls guidance is its classifier-free guidance, --c."""


def is_chroma(base: Base) -> bool:
    """Whether a base model of the family flux is Chroma."""
    return base.family == "flux" and base.text("model_type") == "chroma"


def painter(base: Base) -> Painter | None:
    """What paints with a base model; None where none of these scripts does."""
    return CHROMA if is_chroma(base) else next((row for row in PAINTERS if row.family == base.family), None)
