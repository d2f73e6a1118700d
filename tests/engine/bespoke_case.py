"""The big recipe as a CPU can run it: which options change and why, pictures of its kind, and the room it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

CPU = {
    "model": "{random: sdxl}",  # nothing is downloaded
    "args.resolution": "64",
    "args.mixed_precision": '"no"',
    "args.optimizer_type": "AdamW",  # the 8-bit one is for GPUs
    "args.xformers": "null",  # CUDA only; sdpa in its place
    "args.sdpa": "true",
    "args.network_dim": "4",  # 128 would take 7 GB of memory more
    "args.network_alpha": "2",  # half the dim, as in the recipe
    "args.max_train_epochs": "2",
    "datasets.0.repeats": "1",  # 8 pictures / batch size 2 = 4 steps an epoch
    "datasets.0.expect": "8",
}
"""What a CPU, and the length of a test, change of the proven recipe."""

CHANGED = {name.removeprefix("args.") for name in CPU if name.startswith("args.")}
PLACES = {"pretrained_model_name_or_path", "tokenizer_cache_dir", "train_data_dir", "output_dir"}
MEMORY, DISK = 16 << 30, 9 << 30
PALETTE = ("#2a1b3d", "#d9a066", "#ffffff", "#ac3232")
CAPTION = "pixel art, 24x24, portrait of bespoke baby, {} background, brown hair, brown eyes, palette: {}"


def options(pictures: Path) -> list[str]:
    """The command line's words for all of it."""
    changed = {**CPU, "datasets.0.images": json.dumps(str(pictures))}
    return [word for name, value in changed.items() for word in ("--set", f"{name}={value}")]


def draw(folder: Path) -> None:
    """Eight sprites of 24x24 pixels, with captions after the recipe's rules."""
    folder.mkdir()
    for number in range(8):
        picture = Image.new("RGB", (24, 24), PALETTE[number % 4])
        for row in range(4, 20):
            picture.paste(PALETTE[(number + row // 5 + 1) % 4], (4 + number // 2, row, 20 - number // 2, row + 1))
        picture.save(folder / f"baby it's {number}.png")
        text = CAPTION.format(("pink", "green")[number % 2], ", ".join(PALETTE))
        (folder / f"baby it's {number}.txt").write_text(text + "\n", encoding="utf-8")


def free_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - one line of it
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["MemAvailable"].split()[0]) << 10


def by_name(argv: list[str]) -> dict[str, str]:
    """The trainer's options of a command, in order."""
    return dict(token.removeprefix("--").partition("=")[::2] for token in argv if token.startswith("--"))
