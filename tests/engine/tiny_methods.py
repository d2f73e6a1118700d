"""What engine tests of the methods beside LoRA share: pictures, condition images, tokenizers in the Hub's cache."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZERS = (
    "openai/clip-vit-large-patch14", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "google/t5-v1_1-xxl",
)  # fmt: skip
COMMIT = "0" * 40


def draw(folder: Path, sizes: tuple[tuple[int, int], ...], *, captions: str | None = "a, b, c", seed: int = 0) -> None:
    """Noise of these shapes, each picture with the caption, unless there is none."""
    folder.mkdir(parents=True)
    dice = random.Random(seed)
    for number, size in enumerate(sizes):
        picture = Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1]))
        picture.save(folder / f"a picture {number}.png")
        if captions is not None:
            (folder / f"a picture {number}.txt").write_text(captions, encoding="utf-8")


def fill_hub_cache(hub: Path, tokenizers: Path) -> None:
    """FLUX.1's and SD3's scripts beside the LoRA's read their tokenizers from the Hub's cache alone."""
    for repository in TOKENIZERS:
        source, cached = tokenizers / repository.replace("/", "_"), hub / f"models--{repository.replace('/', '--')}"
        if source.is_dir() and not cached.exists():
            shutil.copytree(source, cached / "snapshots" / COMMIT)
            (cached / "refs").mkdir()
            (cached / "refs" / "main").write_text(COMMIT, encoding="utf-8")
