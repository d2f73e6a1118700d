"""Loads what a run of diffusers' examples left, and paints one picture with it; says what it found as JSON.

PYTHON tests/engine/paint_child.py sd15|sdxl FOLDER PICTURE
"""

from __future__ import annotations

import json
import sys

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline
from PIL import Image

KINDS = {"sd15": StableDiffusionInstructPix2PixPipeline, "sdxl": StableDiffusionXLInstructPix2PixPipeline}

if __name__ == "__main__":
    family, folder, picture = sys.argv[1:]
    pipeline = KINDS[family].from_pretrained(folder)
    size = {"height": 32, "width": 32} if family == "sdxl" else {}
    before = Image.open(picture).convert("RGB").resize((32, 32))
    seeded = torch.Generator().manual_seed(1)
    after = pipeline("make it blue", image=before, num_inference_steps=2, generator=seeded, **size).images[0]
    sys.stdout.write(json.dumps({"channels": pipeline.unet.config.in_channels, "size": after.size}) + "\n")
