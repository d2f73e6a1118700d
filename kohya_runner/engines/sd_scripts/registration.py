"""Which images the trainer registers for an epoch, and how often: repeats, validation, regularization."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kohya_runner.dataset.facts import Entry, Folder

MOST_ORDERED = 4
"""Folders whose orders are all tried: 24 orders."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and how often an epoch shows it."""

    entry: Entry
    repeats: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What an epoch consists of. ``training``, ``regularization`` and ``validation`` are the printed numbers."""

    samples: tuple[Sample, ...]
    training: int
    regularization: int
    regularization_used: int
    validation: int


@dataclass(frozen=True, slots=True)
class Split:
    """How images are held out for validation."""

    share: float = 0.0
    validation_seed: int | None = None
    seed: int | None = None

    @property
    def by_chance(self) -> bool:
        """Whether nothing fixes which images are held out."""
        return self.share > 0 and self.validation_seed is None and self.seed is None


def register(folders: Sequence[Folder], split: Split) -> Registered:
    """The samples of an epoch, by the rules of library/train_util.py:2112-2183.

    Folders count in the order given; the trainer takes the file system's order.
    """
    training = [folder for folder in folders if not folder.regularization]
    chance = random.Random(split.seed)  # noqa: S311 - the trainer's own generator
    parts = [(folder, *_split(folder, split, chance)) for folder in training]
    samples = [Sample(entry, folder.repeats) for folder, kept, _ in parts for entry in kept]
    wanted = sum(sample.repeats for sample in samples)
    classes = [Sample(e, folder.repeats) for folder in folders if folder.regularization for e in folder.entries]
    used = regularize(classes, wanted)
    return Registered(
        (*samples, *used),
        training=wanted,
        regularization=sum(sample.repeats for sample in classes),
        regularization_used=sum(sample.repeats for sample in used),
        validation=sum(held for _, _, held in parts),
    )


def regularize(classes: Sequence[Sample], wanted: int) -> tuple[Sample, ...]:
    """As many regularization samples as there are training samples (library/train_util.py:2166-2183).

    Images with their repeats until there are enough, then one more repeat each in turn until there are enough.
    """
    used: list[Sample] = []
    number = 0
    for sample in classes:
        if number >= wanted:
            break
        used.append(sample)
        number += sample.repeats
    rounds, rest = divmod(max(wanted - number, 0), len(used)) if used else (0, 0)
    return tuple(Sample(s.entry, s.repeats + rounds + (1 if i < rest else 0)) for i, s in enumerate(used))


def orders(folders: Sequence[Folder], split: Split) -> Iterator[tuple[Folder, ...]]:
    """Other orders of the folders that could make another epoch; with many folders only the reverse."""
    classes = [folder for folder in folders if folder.regularization]
    training = [folder for folder in folders if not folder.regularization]
    moved = classes if len(classes) > 1 else []
    if split.share > 0 and split.validation_seed is None and split.seed is not None and len(training) > 1:
        moved = [*training, *moved]
    if len(moved) > MOST_ORDERED:
        yield tuple(reversed(folders))
    elif moved:
        fixed = [folder for folder in folders if not any(folder is other for other in moved)]
        yield from ((*fixed, *order) for order in itertools.permutations(moved))


def _split(folder: Folder, split: Split, chance: random.Random) -> tuple[tuple[Entry, ...], int]:
    """The images of a folder that are trained on, and how many are held out (library/train_util.py:142-176)."""
    entries = list(folder.entries)
    if split.share <= 0 or not entries:
        return folder.entries, 0
    generator = chance if split.validation_seed is None else random.Random(split.validation_seed)  # noqa: S311
    generator.shuffle(entries)
    kept = math.ceil(len(entries) * (1 - split.share))
    return tuple(entries[:kept]), round(len(entries) * split.share)
