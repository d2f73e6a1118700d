"""Class images that are painted because the recipe asks for more than there are: which, and what they will be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.dataset.captions import caption_from_text
from kohya_runner.dataset.facts import Image

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.dataset.facts import Caption

PLANNED = "to be painted"
FORMAT = "PNG"


@dataclass(frozen=True, slots=True)
class ClassImages:
    """``count`` pictures in a folder of the workspace that is named for all that decides them."""

    folder: Path
    prompt: str
    count: int
    size: tuple[int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each, by its number; the number is its seed, too."""
        return tuple(f"class_{number:06d}.png" for number in range(self.count))

    def missing(self) -> tuple[str, ...]:
        """Those that are not there yet."""
        return tuple(name for name in self.names if not os.path.isfile(self.folder / name))

    def seed(self, name: str) -> int:
        """The seed of a picture."""
        return int(name.removeprefix("class_").removesuffix(".png"))

    def planned(self, name: str) -> Image:
        """A picture that is not there yet, as it will be; its bytes are the most that they can be."""
        width, height = self.size
        path = self.folder / name
        return Image(path, width, height, 3 * width * height, f"{PLANNED} {path.name}", format=FORMAT)

    def caption(self, name: str) -> Caption:
        """Each is trained with the prompt that it was painted by."""
        return caption_from_text(self.prompt, str(self.folder / name.replace(".png", ".txt")))


def is_planned(image: Image) -> bool:
    """Whether a picture is not there yet."""
    return image.sha256.startswith(PLANNED)
