"""Loads what a run of diffusers' examples left, and edits one picture with it; says what it found as JSON.

The same with the model as it was after the first step: ``moved`` says whether the two edits differ.

PYTHON tests/engine/paint_child.py sd15|sdxl FOLDER PICTURE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from PIL import Image

KINDS = {"sd15": StableDiffusionInstructPix2PixPipeline, "sdxl": StableDiffusionXLInstructPix2PixPipeline}


def edit(family: str, folder: str, picture: str, **other: Any) -> tuple[int, Image.Image]:
    """The channels that the model takes, and the picture that it makes of this one."""
    pipeline = KINDS[family].from_pretrained(folder, **other)
    size = {"height": 32, "width": 32} if family == "sdxl" else {}
    before = Image.open(picture).convert("RGB").resize((32, 32))
    seeded = torch.Generator().manual_seed(1)
    after = pipeline("make it blue", image=before, num_inference_steps=2, generator=seeded, **size).images[0]
    return pipeline.unet.config.in_channels, after


if __name__ == "__main__":
    channels, after = edit(*sys.argv[1:])
    first = UNet2DConditionModel.from_pretrained(Path(sys.argv[2]) / "checkpoint-1" / "unet")
    _, before = edit(*sys.argv[1:], unet=first)
    found = {"channels": channels, "size": after.size, "values": len(set(after.tobytes())),
             "moved": after.tobytes() != before.tobytes()}  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")
