"""What of a model family decides its memory: parameters by part, blocks, tokens, widths.

Counts of parameters are those of the pinned trainer's own modules, built without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["unet", "transformer"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one sort: how many, and the parameters of each."""

    count: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """One family's base model. ``text`` are its text encoders in the order in which the trainer loads them."""

    kind: Kind
    denoiser: int
    autoencoder: int
    text: tuple[tuple[str, int], ...]
    double: Blocks = Blocks(0, 0)
    single: Blocks = Blocks(0, 0)
    width: int = 0
    stride: int = 16  # pixels per token along a side
    text_tokens: int = 0
    pixels: int = 1024 * 1024  # of the usual training picture, for which the activations are
    split_rule: str = "halves"  # how blocks_to_swap is shared out between the two sorts of blocks
    activations: tuple[int, int] = (0, 0)  # U-Nets: bytes an image in half precision, with checkpointing and without

    @property
    def text_parameters(self) -> int:
        """All text encoders together."""
        return sum(count for _, count in self.text)

    def split(self, blocks: int) -> tuple[int, int]:
        """How many blocks of each sort ``blocks_to_swap`` swaps."""
        if not self.single.count:
            return blocks, 0
        return SPLITS[self.split_rule](blocks, self.double.count, self.single.count)

    def swapped(self, blocks: int) -> int:
        """Parameters that ``blocks_to_swap`` keeps off the GPU."""
        doubles, singles = self.split(blocks)
        return (
            min(doubles, self.double.count) * self.double.parameters
            + min(singles, self.single.count) * self.single.parameters
        )

    @property
    def most_swapped(self) -> int:
        """The largest ``blocks_to_swap`` that the trainer takes: two blocks of each sort stay."""
        if not self.double.count:
            return 0
        left = (self.double.count - 2, self.single.count - 2 if self.single.count else 0)
        return max(
            n
            for n in range(self.double.count + self.single.count)
            if all(swapped <= most for swapped, most in zip(self.split(n), left, strict=True))
        )


def _halves(blocks: int, _: int, __: int) -> tuple[int, int]:
    """library/flux_models.py:972 of sd-scripts."""
    return blocks // 2, (blocks - blocks // 2) * 2


def _halves_and_one(blocks: int, _: int, __: int) -> tuple[int, int]:
    """flux/flux_models.py:958 of musubi-tuner."""
    return blocks // 2, (blocks - blocks // 2) * 2 + 1 if blocks else 0


def _in_proportion(blocks: int, double: int, single: int) -> tuple[int, int]:
    """flux_2/flux2_models.py:511 of musubi-tuner."""
    ratio = single / double
    doubles = round(blocks / (1 + ratio / 2))
    singles = round(doubles * ratio)
    while double * 2 < single and doubles > max(double - 2, 0):
        doubles, singles = doubles - 1, singles + 2
    return (0, 1) if blocks and not doubles and not singles else (doubles, singles)


SPLITS: Mapping[str, Callable[[int, int, int], tuple[int, int]]] = {
    "halves": _halves, "halves and one": _halves_and_one, "in proportion": _in_proportion,
}  # fmt: skip

CLIP_L, CLIP_G, CLIP_H, T5_XXL = 123_060_480, 694_659_840, 340_387_840, 4_762_310_656
SD_AUTOENCODER = 83_653_863
GB = 10**9

ARCHITECTURES: dict[str, Architecture] = {
    "sd15": Architecture(
        "unet", 859_520_964, SD_AUTOENCODER, (("clip_l", CLIP_L),),
        pixels=512 * 512, activations=(int(0.55 * GB), int(2.1 * GB)),
    ),
    "sd2": Architecture(
        "unet", 865_910_724, SD_AUTOENCODER, (("clip_h", CLIP_H),),
        pixels=768 * 768, activations=(int(1.2 * GB), int(4.8 * GB)),
    ),
    "sdxl": Architecture(
        "unet", 2_567_463_684, SD_AUTOENCODER, (("clip_l", CLIP_L), ("clip_g", CLIP_G)),
        activations=(int(1.5 * GB), int(8.5 * GB)),
    ),
    "sd3": Architecture(  # 3.5 large; the others are smaller
        "transformer", 8_056_627_520, 83_819_683, (("clip_l", CLIP_L), ("clip_g", CLIP_G), ("t5xxl", T5_XXL)),
        double=Blocks(38, 212_999_680), width=2432, text_tokens=410,
    ),
    "flux": Architecture(
        "transformer", 11_901_408_320, 83_819_683, (("clip_l", CLIP_L), ("t5xxl", T5_XXL)),
        double=Blocks(19, 339_831_296), single=Blocks(38, 141_591_808), width=3072, text_tokens=512,
    ),
    "lumina": Architecture(
        "transformer", 2_609_771_456, 83_819_683, (("gemma2", 2_614_341_888),),
        double=Blocks(26, 87_312_576), width=2304, text_tokens=256,
    ),
    "hunyuan_image": Architecture(
        "transformer", 17_425_795_520, 405_575_491, (("text_encoder", 8_292_166_656), ("byt5", 219_314_944)),
        double=Blocks(20, 462_530_048), single=Blocks(40, 192_715_520), width=3584, stride=32, text_tokens=1128,
        pixels=2048 * 2048,
    ),
    "anima": Architecture(
        "transformer", 2_091_069_227, 126_892_531, (("qwen3", 596_049_920),),
        double=Blocks(28, 69_206_528), width=2048, text_tokens=512,
    ),
    # From here on musubi-tuner's families; their text encoders are counted by the size in their names (24B, 4B, 8B).
    "flux_kontext": Architecture(
        "transformer", 11_901_408_320, 83_819_683, (("text_encoder2", CLIP_L), ("text_encoder1", T5_XXL)),
        double=Blocks(19, 339_831_296), single=Blocks(38, 141_591_808), width=3072, text_tokens=512,
        split_rule="halves and one",
    ),
    "flux2": Architecture(
        "transformer", 32_223_281_152, 84_000_000, (("text_encoder", 24 * GB),),
        double=Blocks(8, 981_467_648), single=Blocks(48, 490_733_824), width=6144, text_tokens=512,
        split_rule="in proportion",
    ),
    "flux2_klein_4b": Architecture(
        "transformer", 3_875_544_576, 84_000_000, (("text_encoder", 4 * GB),),
        double=Blocks(5, 245_367_296), single=Blocks(20, 122_683_648), width=3072, text_tokens=512,
        split_rule="in proportion",
    ),
    "flux2_klein_9b": Architecture(
        "transformer", 9_078_581_248, 84_000_000, (("text_encoder", 8 * GB),),
        double=Blocks(8, 436_208_128), single=Blocks(24, 218_104_064), width=4096, text_tokens=512,
        split_rule="in proportion",
    ),
}  # fmt: skip
