"""``kohya-runner new``: a commented recipe that plans as it stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kohya_runner import atomic
from kohya_runner.errors import UsageError
from kohya_runner.recipe.models import NAME
from kohya_runner.recipe.suggest import did_you_mean
from kohya_runner.trainers import families

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MODELS: Mapping[str, str] = {
    "sd15": "model: stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sdxl": "model: stabilityai/stable-diffusion-xl-base-1.0",
    "flux": """model: hf://black-forest-labs/FLUX.1-dev/flux1-dev.safetensors  # gated: accept the licence, set HF_TOKEN
components:
  ae: hf://black-forest-labs/FLUX.1-dev/ae.safetensors
  clip_l: hf://comfyanonymous/flux_text_encoders/clip_l.safetensors
  t5xxl: hf://comfyanonymous/flux_text_encoders/t5xxl_fp16.safetensors""",
}

_ARGS: Mapping[str, str] = {
    "sd15": """  resolution: 512
  network_dim: 16
  network_alpha: 8
  unet_lr: 1e-4
  text_encoder_lr: 2e-5          # a fifth of the U-Net's
  mixed_precision: fp16
  min_snr_gamma: 5""",
    "sdxl": """  resolution: 1024
  network_dim: 32
  network_alpha: 16
  network_train_unet_only: true  # the text encoders stay as they are: less memory, less overfitting
  unet_lr: 1e-4
  mixed_precision: bf16          # Ampere or newer
  no_half_vae: true              # the SDXL VAE overflows in half precision
  min_snr_gamma: 5""",
    "flux": """  resolution: 1024
  network_dim: 16
  network_alpha: 16
  network_train_unet_only: true
  mixed_precision: bf16
  fp8_base: true                 # fits 24 GB
  cache_text_encoder_outputs: true
  cache_text_encoder_outputs_to_disk: true
  timestep_sampling: shift       # this and the next three: not the trainer's defaults, but what it recommends
  discrete_flow_shift: 3.1582
  model_prediction_type: raw
  guidance_scale: 1.0""",
}

_TEMPLATE = """\
# {title} LoRA.
#
#   kohya-runner plan   {file}      look first: nothing is written
#   kohya-runner launch {file}
#
# Options under args are the trainer's own, see: kohya-runner options {script} WORD

name: {name}                     # the checkpoints: {name}-000001.safetensors ... {name}.safetensors
family: {family}
{model}

datasets:
  - images: {images}             # pictures with a .txt caption beside each; relative to this file
    concept: {name}
    repeats: 10                  # how often one epoch shows each picture: 1500 to 2500 steps in all is a good start
    # expect: 20                 # exact number of pictures and captions, or nothing is launched
    # captions:
    #   contains_any: ["my trigger word"]

args:
{args}
  enable_bucket: true            # pictures of any shape, sorted by aspect ratio
  learning_rate: 1e-4
  lr_scheduler: cosine
  optimizer_type: AdamW8bit      # needs bitsandbytes and a CUDA GPU
  train_batch_size: 2
  max_train_epochs: 10
  save_every_n_epochs: 1         # the best epoch is rarely the last
  save_precision: {precision}
  gradient_checkpointing: true
  sdpa: true
  cache_latents: true
  cache_latents_to_disk: true
  seed: 42
"""


def write(name: str, family: str, images: Path, output: Path) -> str:
    """Write the recipe and say so; an existing file is left alone.

    Raises:
        UsageError: a name that is no file name, an unknown family, a folder or file that is in the way.
    """
    row = families.find(family, "lora")
    if row is None:
        raise UsageError(f"--family {family}: not supported", hint=did_you_mean(family, families.families()))
    if not NAME.match(name):
        raise UsageError(f"{name}: a name is made of letters, digits, '.', '_' and '-'")
    if not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder")
    if output.exists():
        raise UsageError(f"{output} exists and is left as it is", hint="choose another --output")
    relative = os.path.relpath(images.absolute(), output.absolute().parent)
    text = _TEMPLATE.format(
        title=row.title, file=output, script=row.script, name=name, family=family, model=_MODELS[family],
        images=_quoted(relative), args=_ARGS[family], precision="fp16" if family == "sd15" else "bf16",
    )  # fmt: skip
    try:
        atomic.write_text(output, text)
    except OSError as fault:
        raise UsageError(f"{output}: {fault.strerror or fault}", hint="choose another --output") from None
    return f"wrote {output}; next: kohya-runner plan {output}"


def _quoted(path: str) -> str:
    """A path as a YAML scalar."""
    plain = all(c.isalnum() or c in "/._-" for c in path)
    return path if plain else '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
