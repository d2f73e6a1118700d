"""diffusers' InstructPix2Pix examples: a U-Net of SD 1.5 or SDXL that edits a picture by an instruction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.engine_info import PINS, EngineInfo
from kohya_runner.engines.support import Support
from kohya_runner.record.training_states import ResumeWay

if TYPE_CHECKING:
    from collections.abc import Mapping

DIFFUSERS = EngineInfo(
    name="diffusers",
    title="diffusers examples",
    repository="https://github.com/huggingface/diffusers.git",
    commit="e8aacda762e311505ba05ae340af23b149e37af3",
    marks=("examples/instruct_pix2pix/train_instruct_pix2pix.py",),
    setting="diffusers",
    python_setting="diffusers_python",
    size="35 MiB without its history, about a minute",
    folder="examples/instruct_pix2pix",
    scripts=("train_instruct_pix2pix.py", "train_instruct_pix2pix_sdxl.py"),
    entry="parse_args",
    requirements=(
        *PINS, "transformers==4.54.1", "safetensors==0.4.5", "datasets==4.0.0", "ftfy==6.3.1", "tensorboard",
        "bitsandbytes",
    ),
    needed_modules=("torch", "torchvision", "diffusers", "datasets", "transformers"),
    snapshot="snapshot-diffusers.json",
    record="trainer-diffusers.json",
    says_epochs=False,
)  # fmt: skip
"""The examples of v0.32.1, which ask for the very diffusers that sd-scripts pins; a later datasets breaks them."""

UNET = "unet/diffusion_pytorch_model.safetensors"
"""The trained part of the pipeline that the script leaves in its output folder, and of every checkpoint-N in it."""
CHANNELS = 8
"""Inputs of its first convolution: four of the noisy latents, four of the picture to edit."""

SD15 = Support(
    family="sd15",
    method="instruct_pix2pix",
    title="Stable Diffusion 1.5",
    engine=DIFFUSERS.name,
    script="train_instruct_pix2pix.py",
    network_module="",
    data="edit",
    output="model",
    regularization=False,
    holds=f"conv_in.weight:{CHANNELS}",
    # Without a seed the script fails before it loads anything (train_instruct_pix2pix.py:457, _sdxl.py:518).
    added={"seed": 42},
    recipe="recipes/sd15_instruct_pix2pix.yaml",
)
SDXL = replace(
    SD15,
    family="sdxl",
    title="Stable Diffusion XL",
    script="train_instruct_pix2pix_sdxl.py",
    recipe="recipes/sdxl_instruct_pix2pix.yaml",
)
FAMILIES = (SD15, SDXL)

OWNED: Mapping[str, str] = {
    "dataset_name": "write the pairs as 'datasets'",
    "dataset_config_name": "write the pairs as 'datasets'",
    "cache_dir": "the workspace's own cache is used",
    "hub_token": "a secret: set HF_TOKEN in the environment",
    "push_to_hub": "see: kohya-runner publish",
    "hub_model_id": "see: kohya-runner publish",
    "resume_from_checkpoint": "launch --resume sets it",
    "logging_dir": "the run's own folder is used; report_to says who writes there",
    "local_rank": "write launch.num_processes",
    "original_image_column": "the columns are written by the runner",
    "edited_image_column": "the columns are written by the runner",
    "edit_prompt_column": "the columns are written by the runner",
}
"""Options that the runner sets or that stand elsewhere in a recipe: what to write instead."""

CHECKPOINT = ResumeWay(
    needs=("resume_from_checkpoint",),
    sets=("resume_from_checkpoint",),
    folder=r"checkpoint-(?P<step>\d{{1,9}})",
    weights=UNET,
    steps_inside=True,
    bar="epoch",
)
"""train_instruct_pix2pix.py:820: the folder's own name says the step."""

CHECKPOINT_XL = replace(CHECKPOINT, needs=(*CHECKPOINT.needs, "pretrained_vae_model_name_or_path"), bar="on")
"""train_instruct_pix2pix_sdxl.py:921: it begins the epoch anew, and its bar at what is done."""
