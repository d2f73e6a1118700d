"""The grid: a column for the base and each checkpoint and strength, a row for each prompt and seed.

A cell's key is a hash of everything its picture depends on, so that a picture is found again and never mistaken.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.painting import PictureRequest
from kohya_runner.record.run_paths import CELLS

if TYPE_CHECKING:
    from kohya_runner.compare.checkpoints import Candidate
    from kohya_runner.compare.settings import SweepSettings

_SAMPLES = 32
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the grid; without a checkpoint it is the base model."""

    label: str
    checkpoint: Candidate | None
    strength: float

    @property
    def lora(self) -> str:
        """The hash of the checkpoint, "" for the base model."""
        return self.checkpoint.sha256 if self.checkpoint else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture: ``prompt`` is the number of its prompt, ``seed`` the seed itself."""

    key: str
    column: int
    prompt: int
    seed: int
    sampler: str = ""

    @property
    def file(self) -> str:
        """Its picture, below the comparison's folder."""
        return f"{CELLS}/{self.key}.png"


@dataclass(frozen=True, slots=True)
class Grid:
    """All that is to be painted. ``cells`` are in the order of painting: column, prompt, sampler, seed."""

    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    settings: SweepSettings

    def request(self, cell: Cell) -> PictureRequest:
        """A cell in the words of a painter."""
        chosen = self.settings
        return PictureRequest(
            key=cell.key,
            prompt=chosen.prompts[cell.prompt],
            seed=cell.seed,
            negative=chosen.negative,
            steps=chosen.steps,
            guidance=chosen.guidance,
            width=chosen.width,
            height=chosen.height,
            strength=self.columns[cell.column].strength,
            control=chosen.controls[cell.prompt] if chosen.controls else "",
        )


def columns_of(checkpoints: tuple[Candidate, ...], settings: SweepSettings) -> tuple[Column, ...]:
    """The base first, then the checkpoints in the order of training, each at every strength."""
    several = len(settings.strengths) > 1
    base = (Column("base", None, 0.0),) if settings.base else ()
    named = (
        Column(f"{c.label} x{strength:g}" if several or strength != 1 else c.label, c, strength)
        for c in checkpoints
        for strength in settings.strengths
    )
    return (*base, *named)


def grid_of(columns: tuple[Column, ...], settings: SweepSettings, how: dict[str, str]) -> Grid:
    """The grid; ``how`` is what else a picture depends on: base model, precision, trainer."""
    cells = tuple(
        Cell(_key(column, (row, sampler, seed), settings, how), number, row, seed, sampler)
        for number, column in enumerate(columns)
        for row in range(len(settings.prompts))
        for sampler in settings.samplers
        for seed in settings.seeds
    )
    return Grid(columns, cells, settings)


def _key(column: Column, place: tuple[int, str, int], settings: SweepSettings, how: dict[str, str]) -> str:
    drop = ("prompts", "seeds", "strengths", "samplers", "base", "triggers", "controls", "clip")
    chosen = {name: value for name, value in asdict(settings).items() if name not in drop}
    number, sampler, seed = place
    row: dict[str, Any] = {"prompt": settings.prompts[number], "sampler": sampler, "seed": seed}
    row |= {"control": Path(settings.controls[number]).stem} if settings.controls else {}
    stated = {"lora": column.lora, "strength": column.strength, **row, **chosen, **how}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:40]


def identity(path: Path) -> str:
    """A fingerprint of a large file: its length and 32 pieces spread over it, so that 7 GB take no minute."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _PIECE) * number // (_SAMPLES - 1))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()
