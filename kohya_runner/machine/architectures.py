"""What of a model family decides its memory, read from ``families.toml``, and how its blocks are swapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import le
from pathlib import Path
from typing import Any, Literal

from kohya_runner.tables import read_table

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
    kept: int = 0  # parameters that stay in 16 bit where the others are scaled to 8
    stays: int = 2  # blocks of each sort that are never swapped
    split_rule: str = "halves"  # how blocks_to_swap is shared out between the two sorts of blocks
    activations: tuple[int, int] = (0, 0)  # U-Nets: bytes an image in half precision, with checkpointing and without

    @property
    def text_parameters(self) -> int:
        return sum(count for _, count in self.text)

    def split(self, blocks: int) -> tuple[int, int]:
        """How many blocks of each sort ``blocks_to_swap`` swaps."""
        if not self.single.count:
            return blocks, 0
        return SPLITS[self.split_rule](blocks, self.double.count, self.single.count)

    def swapped(self, blocks: int) -> int:
        """Parameters that ``blocks_to_swap`` keeps off the GPU."""
        pairs = zip(self.split(blocks), (self.double, self.single), strict=True)
        return sum(min(count, sort.count) * sort.parameters for count, sort in pairs)

    @property
    def most_swapped(self) -> int:
        """The largest ``blocks_to_swap`` that the trainer takes."""
        if not self.double.count:
            return 0
        left = (self.double.count - self.stays, self.single.count - self.stays if self.single.count else 0)
        fits = (all(map(le, self.split(n), left)) for n in range(self.double.count + self.single.count))
        return max(n for n, fit in enumerate(fits) if fit)


def _in_proportion(blocks: int, double: int, single: int) -> tuple[int, int]:
    """flux_2/flux2_models.py:511 of musubi-tuner."""
    ratio = single / double
    doubles = round(blocks / (1 + ratio / 2))
    singles = round(doubles * ratio)
    while double * 2 < single and doubles > max(double - 2, 0):
        doubles, singles = doubles - 1, singles + 2
    return (0, 1) if blocks and not doubles and not singles else (doubles, singles)


SPLITS: Mapping[str, Callable[[int, int, int], tuple[int, int]]] = {
    "halves": lambda blocks, _, __: (blocks // 2, (blocks - blocks // 2) * 2),
    "halves and one": lambda blocks, _, __: (blocks // 2, (blocks - blocks // 2) * 2 + 1 if blocks else 0),
    "in proportion": _in_proportion,
}
"""library/flux_models.py:972 of sd-scripts, flux/flux_models.py:958 of musubi-tuner, and the one above."""

FAMILIES: Mapping[str, Mapping[str, Any]] = read_table(Path(__file__).with_name("families.toml"))
"""What is known of each family and of its variants; the file says what its keys mean."""


def _architecture(row: Mapping[str, Any]) -> Architecture:
    said: dict[str, Any] = {field.name: row[field.name] for field in fields(Architecture) if field.name in row}
    said |= {name: Blocks(*said[name]) for name in ("double", "single") if name in said}
    return Architecture(
        **said | {"text": tuple(row["text"].items()), "activations": tuple(row.get("activations", (0, 0)))}
    )


ARCHITECTURES = {name: _architecture(row) for name, row in FAMILIES.items()}
