"""The rows of diffusers' InstructPix2Pix examples: a U-Net of SD 1.5 or SDXL that edits a picture by an instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENGINE = "diffusers"
UNET = "unet/diffusion_pytorch_model.safetensors"
"""The trained part of the pipeline that the script leaves in its output folder, and of every checkpoint-N in it."""
CHANNELS = 8
"""Inputs of its first convolution: four of the noisy latents, four of the picture to edit."""

ADDED: Mapping[str, Any] = {"seed": 42}
"""Without a seed the script fails before it loads anything (train_instruct_pix2pix.py:457, _sdxl.py:518)."""

COMMON: Mapping[str, Any] = {
    "method": "instruct_pix2pix", "network_module": "", "data": "edit", "output": "model", "regularization": False,
    "engine": ENGINE, "added": ADDED, "holds": f"conv_in.weight:{CHANNELS}",
}  # fmt: skip


def rows() -> Iterator[Mapping[str, Any]]:
    """The fields of each row, in the order in which they are shown."""
    yield {
        **COMMON,
        "family": "sd15",
        "title": "Stable Diffusion 1.5",
        "script": "train_instruct_pix2pix.py",
        "recipe": "recipes/sd15_instruct_pix2pix.yaml",
    }
    yield {
        **COMMON,
        "family": "sdxl",
        "title": "Stable Diffusion XL",
        "script": "train_instruct_pix2pix_sdxl.py",
        "recipe": "recipes/sdxl_instruct_pix2pix.yaml",
    }
