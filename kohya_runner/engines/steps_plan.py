"""The numbers of a run, whichever trainer it is: images, batches, steps, epochs, buckets, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kohya_runner.engines.saves import SavePlan


@dataclass(frozen=True, slots=True)
class BucketCount:
    """A bucket: ``images`` as they lie there, ``samples`` with repeats, as the trainer counts."""

    width: int
    height: int
    images: int
    samples: int


@dataclass(frozen=True, slots=True)
class StepsPlan:
    """What the trainer will print: the comments say under which name."""

    images_per_epoch: int  # num train images * repeats
    regularization_images: int  # num reg images: with repeats, used or not
    regularization_used: int  # of one epoch
    validation_images: int  # num validation images * repeats
    batches_per_epoch: int  # num batches per epoch, of one process
    steps_per_epoch: int
    epochs: int  # num epochs
    total: int  # total optimization steps
    buckets: tuple[BucketCount, ...]
    saves: SavePlan
    exact: bool = True  # False: chance, or the file system, decides a part of it

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """File names in the order in which they appear; the last epoch has no number."""
        return self.saves.checkpoints


MOST_STEPS = 2_000_000
MOST_CHECKPOINTS = 20_000
"""More than anybody trains or keeps; the plan goes through every save of a run, so there must be an end."""
