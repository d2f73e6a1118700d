"""What is measured of each column of the grid: one row of the table each. Cheap, and nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from operator import attrgetter
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from kohya_runner.compare import pictures
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from PIL.Image import Image

    from kohya_runner.compare.settings import SweepSettings


Figures = Mapping[str, float | None]
Place = tuple[int, str, int]


LARGEST_ART = 128  # pixels a side: training pictures up to here are taken for pixel art at its true size
MOST_TRAINING = 2000  # pictures that are looked at for the nearest one
_GRID = re.compile(r"(?<![\dx])(\d{1,3})x(\d{1,3})(?![\dx])")


@dataclass(frozen=True, slots=True)
class Likeness:
    """What CLIP says of one picture: cosines, -1 to 1."""

    prompt: float | None = None
    training: float | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """One picture of the grid, as far as the metrics look at it."""

    prompt: int
    sampler: str
    seed: int
    small: Image
    tiny: Image
    palette: int | None = None
    alignment: float | None = None
    hardness: float | None = None
    clip: Likeness = Likeness()
    plain: bool = False  # of one colour: what the scripts save when the numbers are NaN

    @property
    def place(self) -> tuple[int, str, int]:
        return self.prompt, self.sampler, self.seed


@dataclass(frozen=True, slots=True)
class Training:
    """What the training pictures say: ``grid`` is the size of pixel art, None for other pictures."""

    tiny: tuple[Image, ...] = ()
    grid: tuple[int, int] | None = None
    palette: float | None = None  # the median number of colours


@dataclass(frozen=True, slots=True)
class View:
    """One column beside the base's, and what they are held against."""

    column: Sequence[Looked]
    base: Mapping[tuple[int, str, int], Looked]
    training: Training
    prompts: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()

    def pairs(self) -> Iterator[tuple[Looked, Looked]]:
        """Each picture with the base's of the same prompt, sampler and seed; one that shows nothing tells nothing."""
        for one in self.column:
            other = self.base.get(one.place)
            if other is not None and not (one.plain or other.plain):
                yield one, other

    def untriggered(self, prompt: int) -> bool:
        """Whether a prompt holds none of the trigger words."""
        text = self.prompts[prompt].lower()
        return bool(self.triggers) and not any(word.lower() in text for word in self.triggers)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. ``weight`` is its say in the suggestion: more is better where it is above 0, less where it is below."""

    key: str
    title: str
    what: str
    measure: Callable[[View], float | None]
    weight: float = 0.0
    pixel_art: bool = False


def _drift(view: View) -> float | None:
    told = any(view.untriggered(number) for number in range(len(view.prompts)))
    meant = [(a, b) for a, b in view.pairs() if not (told and view.untriggered(a.prompt))]
    return _mean(pictures.difference(a.small, b.small) for a, b in meant)


def _bleed(view: View) -> float | None:
    return _mean(pictures.difference(a.small, b.small) for a, b in view.pairs() if view.untriggered(a.prompt))


def _diversity(view: View) -> float | None:
    rows: dict[tuple[int, str], list[Image]] = {}
    for one in view.column:
        rows.setdefault((one.prompt, one.sampler), []).append(one.small)
    return _mean(found for same in rows.values() if (found := pictures.mean_difference(same)) is not None)


def _memorised(view: View) -> float | None:
    likest = [pictures.nearest(one.tiny, view.training.tiny) for one in view.column]
    return max((value for value in likest if value is not None), default=None)


def _off_palette(view: View) -> float | None:
    """How far the pictures are from the training pictures' number of colours, as a share of it."""
    meant = view.training.palette
    return _mean(abs(one.palette - meant) / meant for one in view.column if meant and one.palette is not None)


def _of_each(name: str) -> Callable[[View], float | None]:
    """The mean of a figure that each picture has for itself."""
    figure = attrgetter(name)
    return lambda view: _mean(value for one in view.column if (value := figure(one)) is not None)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None


MEASURES = {
    "drift": _drift,
    "diversity": _diversity,
    "memorised": _memorised,
    "bleed": _bleed,
    "off_palette": _off_palette,
}
METRICS = tuple(
    Metric(key, row.pop("title"), row.pop("what"), _of_each(row.pop("of")) if "of" in row else MEASURES[key], **row)
    for key, row in read_table(Path(__file__).with_name("metrics.toml")).items()
)


def look(path: Path, place: tuple[int, str, int], grid: tuple[int, int] | None) -> Looked | None:
    """Read one picture; None where it cannot be read."""
    picture = pictures.opened(path)
    if picture is None:
        return None
    seen = Looked(
        *place, pictures.shrunk(picture), pictures.shrunk(picture, pictures.TINY), plain=pictures.plain(picture)
    )
    if grid is None or min(picture.size) < max(grid):
        return seen
    return replace(
        seen,
        palette=pictures.palette_size(picture, grid),
        alignment=pictures.grid_alignment(picture, grid),
        hardness=pictures.edge_hardness(picture),
    )


def training_of(files: Sequence[Path], texts: Sequence[str]) -> Training:
    """The training pictures. They are pixel art where ``texts`` say so with a size, or where all are equally small."""
    found = [picture for path in files[:MOST_TRAINING] if (picture := pictures.opened(path)) is not None]
    sizes = {picture.size for picture in found}
    grid = _grid_in(texts)
    if grid is None and len(sizes) == 1 and max(max(size) for size in sizes) <= LARGEST_ART:
        grid = next(iter(sizes))
    tiny = tuple(pictures.shrunk(picture, pictures.TINY) for picture in found)
    if grid is None:
        return Training(tiny)
    counted = [pictures.palette_size(p, grid) for p in found if min(p.size) >= max(grid)]
    return Training(tiny, grid, median(counted) if counted else None)


def _grid_in(texts: Sequence[str]) -> tuple[int, int] | None:
    for text in texts:
        if "pixel" in text.lower() and (match := _GRID.search(text)):
            width, height = int(match[1]), int(match[2])
            if 8 <= width <= LARGEST_ART and 8 <= height <= LARGEST_ART:
                return width, height
    return None


@dataclass(frozen=True, slots=True)
class Table:
    """The figures: one mapping per column, in the grid's order, and one per picture by its place in its column."""

    columns: tuple[Figures, ...]
    training: Training = field(default_factory=Training)
    plain: tuple[int, ...] = ()  # how many pictures of each column are of one colour
    cells: tuple[Mapping[tuple[int, str, int], Figures], ...] = ()
    floors: Figures = field(default_factory=dict)  # what another choice of seeds makes of a difference, by metric

    def of_cell(self, column: int, place: tuple[int, str, int]) -> Figures:
        """The figures of one picture; empty where there is none."""
        return self.cells[column].get(place, {}) if self.cells else {}

    def noise(self) -> str:
        """The floors in one line; "" where none could be measured."""
        told = [f"{m.title} {shown(floor)}" for m in self.rows() if (floor := self.floors.get(m.key)) is not None]
        return f"Noise: differences up to these are the seeds': {', '.join(told)}." if told else ""

    def rows(self) -> tuple[Metric, ...]:
        """The metrics that could be measured of any column."""
        return tuple(m for m in METRICS if any(column.get(m.key) is not None for column in self.columns))


def measure(
    columns: Sequence[Sequence[Looked]], base: int | None, training: Training, settings: SweepSettings
) -> Table:
    """All metrics of all columns; ``base`` is the number of the base model's column, None where there is none."""
    held = {one.place: one for one in columns[base]} if base is not None else {}
    wanted = [m for m in METRICS if training.grid is not None or not m.pixel_art]
    rows, cells = [], []
    for number, column in enumerate(columns):
        against = {} if number == base else held
        view = View(column, against, training, settings.prompts, settings.triggers)
        rows.append({m.key: m.measure(view) for m in wanted})
        cells.append({one.place: _alone(replace(view, column=(one,)), wanted) for one in column})
    plain = tuple(sum(one.plain for one in column) for column in columns)
    floors = {m.key: floor(m.key, columns, cells) for m in wanted}
    return Table(tuple(rows), training, plain, tuple(cells), floors)


def shown(value: float | None) -> str:
    """A figure as people see it: what looks the same is a tie."""
    return "" if value is None else f"{value:.3g}"


def _alone(view: View, wanted: Sequence[Metric]) -> Figures:
    """What can be measured of a single picture."""
    found = ((m.key, m.measure(view)) for m in wanted)
    return {key: value for key, value in found if value is not None}


def floor(key: str, columns: Sequence[Sequence[Looked]], cells: Sequence[Mapping[Place, Figures]]) -> float | None:
    """How far two columns' figures lie apart by the choice of seeds alone, in 19 of 20 cases; None for one seed.

    What is left of each picture's figure after its column's and its seed's mean are taken away, prompt by prompt, is
    the noise; the base model's column counts like any other.
    """
    squares, freedom, count = 0.0, 0, 0
    for prompt in sorted({one.prompt for column in columns for one in column}):
        told = [_by_seed(key, prompt, *pair) for pair in zip(columns, cells, strict=True)]
        seeds = sorted(set().union(*told))
        count += len(seeds)
        lines = [[values[seed] for seed in seeds] for values in told if seeds and len(values) == len(seeds)]
        means = [fmean(same) for same in zip(*lines, strict=True)]
        middle = fmean(means) if means else 0.0
        squares += sum((v - fmean(line) - m + middle) ** 2 for line in lines for v, m in zip(line, means, strict=True))
        freedom += max(0, len(lines) - 1) * max(0, len(seeds) - 1)
    # the mean over pairs of seeds varies as if there were a quarter of them, the closest of all like a single picture
    share = {"diversity": 0.25, "memorised": 1 / max(1, count)}.get(key, 1.0)
    return student(freedom) * sqrt(2 * squares / freedom / (count * share)) if freedom else None


def _by_seed(key: str, prompt: int, column: Sequence[Looked], cells: Mapping[Place, Figures]) -> dict[int, float]:
    """One prompt's figures by seed, the mean over the samplers."""
    same = [one for one in column if one.prompt == prompt]
    found: dict[int, list[float]] = {}
    for one in same:
        value = cells.get(one.place, {}).get(key)
        if key == "diversity":
            others = [o.small for o in same if o.sampler == one.sampler and o.seed != one.seed]
            value = fmean(pictures.difference(one.small, other) for other in others) if others else None
        if value is not None:
            found.setdefault(one.seed, []).append(value)
    return {seed: fmean(values) for seed, values in found.items()}


_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def student(freedom: int) -> float:
    """What 19 of 20 values of Student's t lie within."""
    return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96 + 2.5 / freedom
