"""Pictures that look the same: exact copies by hash, near ones by their 8x8 signature.

Each picture is compared with the first of every group found so far whose brightness agrees in all four quarters, so
that ten thousand frames of one film cost little more than ten thousand different pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from operator import sub

from kohya_runner.dataset.trainer_view import TrainerView

MEAN = 2.5  # of 255: mean difference of the signatures of one picture saved twice
LARGEST = 24  # of 255: in any of the 64 fields
QUARTER = 3  # of 255: in the mean brightness of a quarter
CELL = 12
ASPECT = 0.02
_SIDE = 8


@dataclass(slots=True)
class _Group:
    first: TrainerView
    signature: bytes
    quarters: tuple[int, ...]
    ratio: float
    others: list[TrainerView] | None = None  # nearly always None: there may be as many groups as pictures


@dataclass(slots=True)
class _Known:
    """The groups found so far: by their whole signature, and by the cell of their brightness."""

    signatures: dict[bytes, list[_Group]]
    cells: dict[tuple[int, ...], list[_Group]]

    def like(self, candidate: _Group) -> _Group | None:
        """The first group that shows the same; the very same signature is looked up and not searched for."""
        for group in self.signatures.get(candidate.signature, ()):
            if _near(group.ratio, candidate.ratio):
                return group
        ranges = [range((q - QUARTER) // CELL, (q + QUARTER) // CELL + 1) for q in candidate.quarters]
        close = (group for cell in product(*ranges) for group in self.cells.get(cell, ()))
        return next((group for group in close if _same(group, candidate)), None)

    def add(self, candidate: _Group) -> None:
        self.signatures[candidate.signature].append(candidate)
        self.cells[tuple(value // CELL for value in candidate.quarters)].append(candidate)


def exact(pictures: Iterable[TrainerView]) -> tuple[tuple[TrainerView, ...], ...]:
    groups: dict[str, list[TrainerView]] = defaultdict(list)
    for view in pictures:
        if not view.image.problem:
            groups[f"{view.image.sha256} {view.source.options}"].append(view)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def near(pictures: Iterable[TrainerView]) -> tuple[tuple[TrainerView, ...], ...]:
    """Groups of different files that show nearly the same; of exact copies only the first takes part."""
    known = _Known(defaultdict(list), defaultdict(list))
    groups: list[_Group] = []
    hashes: set[str] = set()
    for view in pictures:
        signature = view.traits.signature if view.traits else b""
        if not signature or view.image.sha256 in hashes:
            continue
        hashes.add(view.image.sha256)
        candidate = _Group(view, signature, _quarters(signature), view.image.width / view.image.height)
        group = known.like(candidate)
        if group is None:
            known.add(candidate)
            continue
        if group.others is None:
            group.others = []
            groups.append(group)
        group.others.append(view)
    return tuple((group.first, *(group.others or ())) for group in groups)


def _same(one: _Group, other: _Group) -> bool:
    """A million times in large datasets: the first field that differs much ends it."""
    for a, b in zip(one.quarters, other.quarters, strict=True):
        if not -QUARTER <= a - b <= QUARTER:
            return False
    for a, b in zip(one.signature, other.signature, strict=True):
        if not -LARGEST <= a - b <= LARGEST:
            return False
    total = sum(map(abs, map(sub, one.signature, other.signature)))
    return total <= MEAN * len(one.signature) and _near(one.ratio, other.ratio)


def _near(one: float, other: float) -> bool:
    return abs(one / other - 1) <= ASPECT


def _quarters(signature: bytes) -> tuple[int, ...]:
    """Mean of all colours in the four quarters."""
    half, row = _SIDE // 2, _SIDE * 3
    rows = [signature[index * row : index * row + row] for index in range(_SIDE)]
    return tuple(
        sum(sum(line[left : left + half * 3]) for line in rows[top : top + half]) // (half * half * 3)
        for top in (0, half)
        for left in (0, half * 3)
    )
