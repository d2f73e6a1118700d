"""sd-scripts' own script that paints for each family, and its command; who paints class images, and how it is told.

The minimal inference scripts make many pictures a start in their interactive mode alone; ``engines/paint_worker.py``
answers their ``input()``, as it does for a sweep of epochs.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.painting import (
    WORKER,
    Base,
    ClassPainter,
    ClassPainting,
    Painter,
    PaintJob,
    PictureRequest,
    TrainingCommand,
)
from kohya_runner.errors import UsageError

if TYPE_CHECKING:
    from kohya_runner.dataset.survey import ClassImages

SAMPLERS = (
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
    "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
)  # fmt: skip
"""gen_img.py:3251; it takes one a process (:1706-1813)."""
FLOATS = {"bf16": "bf16", "fp16": "fp16"}
"""--mixed_precision of the training, and how the scripts call it; everything else is single precision."""


KINDS: Mapping[str, tuple[str, ...]] = {"sd15": ("--v1",), "sd2": ("--v2",), "sdxl": ("--sdxl", "--no_half_vae")}
"""Families that gen_img.py paints, and how it is told."""


def _gen_img(base: Base, sampler: str, outdir: Path) -> tuple[str, ...]:
    """What gen_img.py is told of the model and of its output."""
    return (
        *KINDS[base.family], *base.switches("v_parameterization", "zero_terminal_snr"), *_half(base),
        "--xformers" if base.on("xformers") else "--sdpa",
        f"--ckpt={base.model}", *base.given("vae", "clip_skip", "tokenizer_cache_dir"),
        f"--sampler={sampler}", "--batch_size=1", "--images_per_prompt=1", f"--outdir={outdir}",
    )  # fmt: skip


def _gen_img_slot(base: Base, job: PaintJob) -> tuple[str, ...]:
    """``--network_weights`` makes the slot, the module given by ``--from_module`` fills it."""
    return (
        *_gen_img(base, job.sampler, job.outdir), "--network_module", base.text("network_module") or "networks.lora",
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
        *masks, *_minimal(job),
    )  # fmt: skip


def _sd3(base: Base, job: PaintJob) -> tuple[str, ...]:
    masks = base.switches("apply_lg_attn_mask", "apply_t5_attn_mask")
    return (
        f"--ckpt_path={base.model}", *base.given("clip_l", "clip_g", "t5xxl"), *_half(base), *masks,
        *_minimal(job),
    )  # fmt: skip


def _lumina(base: Base, job: PaintJob) -> tuple[str, ...]:
    kinds = (f"--{name}={_float(base)}" for name in ("dtype", "gemma2_dtype", "ae_dtype"))
    return (
        f"--pretrained_model_name_or_path={base.model}", f"--gemma2_path={base.text('gemma2')}",
        f"--ae_path={base.text('ae')}", *kinds, *base.given("discrete_flow_shift", "system_prompt"),
        *_minimal(job),
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


def _minimal(job: PaintJob) -> tuple[str, ...]:
    """A LoRA whose weights are exchanged; none where the base model alone paints."""
    slot = ("--lora_weights", f"{job.weights};1.0") if job.weights else ()
    return (*(("--offload",) if job.small_gpu else ()), f"--output_dir={job.outdir}", *slot, "--interactive")


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


def _interactive(guidance: str, *, multiplier: bool = True, escaped: bool = False) -> Callable[[PictureRequest], str]:
    """The line of the minimal scripts' interactive mode; they differ in what they call the guidance.

    ``escaped``: the script takes escape sequences for what they stand for (anima_minimal_inference.py:357).
    """

    def line(picture: PictureRequest) -> str:
        said = (picture.prompt, f" --n {picture.negative}" if picture.negative else "")
        prompt, negative = (text.encode("unicode_escape").decode("ascii") if escaped else text for text in said)
        size = f"--w {picture.width} --h {picture.height} --s {picture.steps} --{guidance} {picture.guidance:g}"
        strength = f" --m {picture.strength:f}" if multiplier else ""
        return f"{prompt} {size} --d {picture.seed}{strength}{negative}"

    return line


PROJECTIONS = ("_proj_in.lora_", "_proj_out.lora_")
PIXEL = [1, 1]


def linear(path: Path, folder: Path) -> Path:
    """A LoRA of SD 2 as gen_img.py reads it: the file itself, or a copy in the folder whose projections are linear.

    The training builds the U-Net's projections as convolutions of one pixel (library/model_io.py:351), gen_img.py as
    linear layers (library/model_util.py:1002): it stops at the two sides that the tensors have more. The numbers are
    the same.
    """
    with path.open("rb") as file:
        rows = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        projections = [name for name in rows if any(part in name for part in PROJECTIONS)]
        of_pixel = [name for name in projections if rows[name]["shape"][2:] == PIXEL]
        if not of_pixel:
            return path
        flat = rows | {name: {**rows[name], "shape": rows[name]["shape"][:2]} for name in of_pixel}
        copy = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.safetensors"
        told = json.dumps(flat).encode()
        with copy.open("wb") as out:
            out.write(len(told).to_bytes(8, "little") + told)
            shutil.copyfileobj(file, out)
    return copy


PAINTERS: tuple[Painter, ...] = (
    *(Painter(family, "gen_img.py", _gen_img_slot, _gen_img_line, samplers=SAMPLERS)
      for family in ("sd15", "sdxl")),
    Painter("sd2", "gen_img.py", _gen_img_slot, _gen_img_line, samplers=SAMPLERS, readable=linear),
    Painter("flux", "flux_minimal_inference.py", _flux, _interactive("g"), multiple=16, guidance=3.5),
    Painter("sd3", "sd3_minimal_inference.py", _sd3, _interactive("c"), multiple=16, guidance=5.0),
    Painter("lumina", "lumina_minimal_inference.py", _lumina, _interactive("g"), multiple=16, guidance=3.5),
    Painter("hunyuan_image", "hunyuan_image_minimal_inference.py", _hunyuan_image,
            _interactive("g", multiplier=False), merged=True, multiple=32, guidance=3.5),
    Painter("anima", "anima_minimal_inference.py", _anima, _interactive("g", multiplier=False, escaped=True),
            merged=True, multiple=32, guidance=3.5),
)  # fmt: skip
CHROMA = Painter("flux", "flux_minimal_inference.py", _flux, _interactive("g 0 --c"), multiple=16, guidance=3.5,
                 needs_negative=True)  # fmt: skip
"""FLUX without a distilled guidance: what a person calls guidance is its classifier-free guidance, --c."""


def is_chroma(base: Base) -> bool:
    return base.family == "flux" and base.text("model_type") == "chroma"


def painter(base: Base) -> Painter | None:
    """What paints with a base model; None where none of these scripts does.

    Raises:
        UsageError: the script of the family does not take what was trained.
    """
    if base.on("train_inpainting"):
        hint = "compare the samples of the training: kohya-runner compare --images RUN/output/sample (docs/edit.md)"
        raise UsageError("an inpainting model is not painted with: gen_img.py feeds it 4 channels of 9", hint=hint)
    return CHROMA if is_chroma(base) else next((row for row in PAINTERS if row.family == base.family), None)


SCRIPT = "gen_img.py"
HOW: Mapping[str, Any] = {"steps": 30, "scale": 7.5, "sampler": "ddim"}
"""Usual settings of gen_img.py; the pictures are to be those that the base model makes anyway."""
OTHERS = ("flux", "sd3", "lumina", "anima")
"""Families whose minimal inference script is asked for each picture (engines/sd_scripts/painter.py)."""
DECIDING = (
    "model_type", "discrete_flow_shift", "system_prompt", "apply_t5_attn_mask", "apply_lg_attn_mask", "fp8_base",
)  # fmt: skip
"""Their options that decide a picture, beside the files."""
_MULTIPLIER = re.compile(r" --m \S+")
"""There is no LoRA here; a prompt holds no ``--`` (class_stage.py)."""


def _by_file(training: TrainingCommand, images: ClassImages, scratch: Path) -> ClassPainting:
    """A line for each picture (gen_img.py:2770-2975)."""
    width, height = images.size
    flags = f"--w {width} --h {height} --s {HOW['steps']} --l {HOW['scale']}"
    missing = images.missing()
    lines = (f"{images.prompt} {flags} --d {images.seed(name)} --f {name}" for name in missing)
    file = scratch / "prompts.txt"
    options = (*_gen_img(training.base, HOW["sampler"], scratch), f"--from_file={file}")
    command = training.runs(SCRIPT, (), options)
    return ClassPainting(images, missing, scratch, command, SCRIPT, file, "\n".join(lines) + "\n")


def _asked(training: TrainingCommand, images: ClassImages, scratch: Path) -> ClassPainting:
    """One of the minimal inference scripts, without a LoRA."""
    base = training.base
    row, file, missing = painter(base), scratch / "jobs.json", images.missing()
    assert row is not None  # noqa: S101 - OTHERS have one
    options = row.arguments(base, PaintJob(file, scratch, None, 0.0, "", training.small_gpu, row.guidance))
    command = training.runs(row.script, (str(WORKER), str(file)), options)
    return ClassPainting(images, missing, scratch, command, row.script, file, _jobs(base, row, images, scratch),
                         folder_each=True)  # fmt: skip


def _jobs(base: Base, row: Painter, images: ClassImages, scratch: Path) -> str:
    width, height = images.size

    def line(name: str) -> str:
        request = PictureRequest(
            "", images.prompt, images.seed(name), "", HOW["steps"], row.guidance, width=width, height=height
        )
        return _MULTIPLIER.sub("", row.line(request))

    cells = [
        {"key": name.removesuffix(".png"), "weights": None, "strength": 0.0, "line": line(name)}
        for name in images.missing()
    ]
    told = {"version": 1, "events": str(scratch / "events.jsonl"), "outdir": str(scratch), "merged": row.merged,
            "tokenizers": base.text("tokenizer_cache_dir"), "cells": cells}  # fmt: skip
    return json.dumps(told)


CLASS_PAINTERS: tuple[ClassPainter, ...] = (
    *(ClassPainter(family, SCRIPT, _by_file, HOW) for family in KINDS),
    *(ClassPainter(family, row.script, _asked, HOW, multiple=row.multiple, deciding=DECIDING)
      for family in OTHERS if (row := painter(Base(family, ""))) is not None),
)  # fmt: skip
