"""``kohya-runner new``: a commented recipe that plans as it stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kohya_runner import atomic
from kohya_runner.commands.new_parts import ARGS, ARGS_MUSUBI, HALF, MODELS, MODELS_MUSUBI
from kohya_runner.engines import families
from kohya_runner.errors import UsageError
from kohya_runner.recipe.models import NAME
from kohya_runner.suggest import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

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

_MUSUBI = """\
# {title} LoRA.
#
#   kohya-runner setup --engine musubi-tuner      once: this family is not sd-scripts'
#   kohya-runner plan   {file}      look first: nothing is written
#   kohya-runner launch {file}
#
# Options under args are the trainer's own, see: kohya-runner options {script} WORD

name: {name}                     # the checkpoints: {name}-000001.safetensors ... {name}.safetensors
family: {family}
{model}

datasets:
  - images: {images}             # rows of input_image, instruction, output_image; or a folder of pictures with captions
    concept: {name}
    repeats: 1                   # how often one epoch shows each pair
    options:                     # keys of the trainer's dataset config
      resolution: 1024
      batch_size: 1
      enable_bucket: true        # pictures of any shape, sorted by aspect ratio

args:
{args}
  weighting_scheme: none
  network_dim: 32
  network_alpha: 32
  learning_rate: 1e-4
  lr_scheduler: constant
  optimizer_type: AdamW8bit      # needs bitsandbytes and a CUDA GPU
  max_train_epochs: 10
  save_every_n_epochs: 1         # the best epoch is rarely the last
  save_precision: {precision}
  mixed_precision: bf16
  gradient_checkpointing: true
  sdpa: true
  fp8_base: true
  fp8_scaled: true
  max_data_loader_n_workers: 2
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
    template, models, args = (_TEMPLATE, MODELS, ARGS)
    if row.engine == "musubi-tuner":
        template, models, args = (_MUSUBI, MODELS_MUSUBI, ARGS_MUSUBI)
    edits = row.needs_control or (images / "metadata.jsonl").is_file()
    text = template.format(
        title=row.title, file=output, script=row.script, name=name, family=family, model=models[family],
        images=_quoted(f"{relative}/metadata.jsonl" if edits and row.data == "controls" else relative),
        args=args[family], precision=HALF.get(family, "bf16"),
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
