"""The grid: a column for the base and each checkpoint and strength, a row for each prompt, seed and control picture.

A cell's key is a hash of everything its picture depends on, so that a picture is found again and never mistaken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import PIL.ImageOps

from kohya_runner import safe_files
from kohya_runner.compare.comparison import Head
from kohya_runner.compare.training_data import trained_pairs
from kohya_runner.engines.painting import Base, Painter, PictureRequest
from kohya_runner.errors import UsageError
from kohya_runner.record.run_paths import CELLS, ComparisonPaths

if TYPE_CHECKING:
    from kohya_runner.compare.checkpoints import Candidate
    from kohya_runner.compare.settings import SweepOptions, SweepSettings

_SAMPLES = 32
_PIECE = 1 << 16


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

    columns: tuple[Head, ...]
    cells: tuple[Cell, ...]
    settings: SweepSettings

    def request(self, cell: Cell) -> PictureRequest:
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


def columns_of(checkpoints: tuple[Candidate, ...], settings: SweepSettings) -> tuple[Head, ...]:
    """The base first, then the checkpoints in the order of training, each at every strength."""
    several = len(settings.strengths) > 1
    base = (Head("base", base=True, strength=0.0),) if settings.base else ()
    named = (
        Head(
            f"{c.label} x{strength:g}" if several or strength != 1 else c.label,
            path=c.path, sha256=c.sha256, strength=strength, epoch=c.epoch, step=c.step, slot=c.slot,
        )
        for c in checkpoints
        for strength in settings.strengths
    )  # fmt: skip
    return (*base, *named)


def grid_of(columns: tuple[Head, ...], settings: SweepSettings, how: dict[str, str]) -> Grid:
    """The grid; ``how`` is what else a picture depends on: base model, precision, trainer."""
    cells = tuple(
        Cell(_key(column, (row, sampler, seed), settings, how), number, row, seed, sampler)
        for number, column in enumerate(columns)
        for row in range(len(settings.prompts))
        for sampler in settings.samplers
        for seed in settings.seeds
    )
    return Grid(columns, cells, settings)


def _key(column: Head, place: tuple[int, str, int], settings: SweepSettings, how: dict[str, str]) -> str:
    drop = ("prompts", "seeds", "strengths", "samplers", "base", "triggers", "controls", "clip")
    chosen = {name: value for name, value in asdict(settings).items() if name not in drop}
    number, sampler, seed = place
    row: dict[str, Any] = {"prompt": settings.prompts[number], "sampler": sampler, "seed": seed}
    row |= {"control": Path(settings.controls[number]).stem} if settings.controls else {}
    stated = {"lora": column.sha256, "strength": column.strength, **row, **chosen, **how}
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


HOW = "write compare.controls, or name them with --control FILE"
STOOD_IN = "No control pictures were given, so the inputs of training pairs are used."


def with_controls(
    settings: SweepSettings, painter: Painter, base: Base, stated: Sequence[Path], output: Path
) -> tuple[SweepSettings, tuple[str, ...]]:
    """The settings with a picture for each prompt, and what a person should know of them.

    As in training, a picture is scaled to cover the painted size and cut at the middle
    (src/musubi_tuner/dataset/image_video_dataset.py:448).

    Raises:
        UsageError: a picture is not there, cannot be read, or there are not as many as prompts; an edit without one.
    """
    if not painter.controls:
        return settings, (() if not stated else (f"{painter.script} takes no control pictures.",))
    chosen = list(stated) or _trained(settings, base)
    if not chosen and painter.controls == "optional":
        return settings, ()
    if not chosen:
        raise UsageError(f"{painter.family} edits pictures, but no control picture was given", hint=HOW)
    many = len(settings.prompts)
    if len(chosen) == 1:
        chosen *= many
    if len(chosen) != many:
        raise UsageError(f"{len(chosen)} control pictures for {many} prompts: give one for each prompt, or one for all")
    size = (settings.width, settings.height)
    made = {path: _made(path, size, ComparisonPaths(output).controls) for path in dict.fromkeys(chosen)}
    faults = [f"{path}: {text}" for path, text in made.items() if isinstance(text, str)]
    if faults:
        raise UsageError("\n".join(faults), hint=HOW)
    placed = tuple(str(made[path]) for path in chosen)
    return replace(settings, controls=placed), (() if stated else (STOOD_IN,))


def stated_controls(given: SweepOptions, recipe: Mapping[str, Any], folder: Path | None) -> tuple[Path, ...]:
    """Those of the command line, else the recipe's; a relative path is looked for beside the recipe, then here."""
    if given.controls:
        return tuple(path.absolute() for path in given.controls)
    return tuple(_found(Path(str(text)).expanduser(), folder) for text in recipe.get("controls") or ())


def _found(path: Path, folder: Path | None) -> Path:
    beside = folder / path if folder else path
    return (beside if beside.is_file() else path).absolute()


def _trained(settings: SweepSettings, base: Base) -> list[Path]:
    """The input of the pair that a prompt is the instruction of, else of the next pair in order."""
    pairs = [pair for pair in trained_pairs(base) if pair.control is not None and pair.control.is_file()]
    own = {" ".join(pair.instruction.split()): pair.control for pair in reversed(pairs)}
    rest = [pair.control for pair in pairs]
    if not rest:
        return []
    chosen = (own.get(prompt) or rest[number % len(rest)] for number, prompt in enumerate(settings.prompts))
    return [path for path in chosen if path is not None]


def _made(path: Path, size: tuple[int, int], folder: Path) -> Path | str:
    """The file, named by what is in it; a text says why there is none."""
    try:
        with PIL.Image.open(path) as picture:
            fitted = PIL.ImageOps.fit(picture.convert("RGB"), size, PIL.Image.Resampling.LANCZOS)
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as fault:
        return f"cannot be read as a picture: {fault}"
    buffer = BytesIO()
    fitted.save(buffer, "PNG")
    data = buffer.getvalue()
    place = folder / f"{hashlib.sha256(fitted.tobytes()).hexdigest()[:32]}.png"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        safe_files.write_bytes(place, data)
    return place
