"""The numbers of a run, whichever trainer it is: images, batches, steps, epochs, buckets, saves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kohya_runner.findings import Finding, error, warning


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


def bucket_counts(rows: Iterable[tuple[tuple[int, int], int, int]]) -> tuple[BucketCount, ...]:
    """The buckets of (size, images, samples), sorted by size; what has one size is one of them."""
    images: Counter[tuple[int, int]] = Counter()
    samples: Counter[tuple[int, int]] = Counter()
    for size, pictures, shown in rows:
        images[size] += pictures
        samples[size] += shown
    return tuple(BucketCount(*size, images[size], samples[size]) for size in sorted(images))


MOST_STEPS = 2_000_000
MOST_CHECKPOINTS = 20_000
"""More than anybody trains or keeps; the plan goes through every save of a run, so there must be an end."""


@dataclass(frozen=True, slots=True)
class SaveSettings:
    """What decides the saves: the trainer's options of the same names."""

    output_name: str
    save_model_as: str = "safetensors"
    save_every_n_epochs: int | None = None
    save_every_n_steps: int | None = None
    save_n_epoch_ratio: int | None = None
    save_last_n_epochs: int | None = None
    save_last_n_steps: int | None = None
    save_last_n_epochs_state: int | None = None
    save_last_n_steps_state: int | None = None
    save_state: bool = False
    save_state_on_train_end: bool = False


@dataclass(frozen=True, slots=True)
class SaveEvent:
    """A checkpoint or a state that is written, or removed, after step or epoch ``number``, or at the end."""

    after: Literal["step", "epoch", "end"]
    number: int
    name: str
    state: bool = False
    removed: bool = False  # if it is still there


@dataclass(frozen=True, slots=True)
class SavePlan:
    """File names of checkpoints and folder names of states; ``most_*`` is how many lie on the disk at once.

    ``events``: what happens, in the trainer's order.
    """

    checkpoints: tuple[str, ...]
    checkpoints_kept: tuple[str, ...]
    most_checkpoints: int
    states: tuple[str, ...]
    states_kept: tuple[str, ...]
    most_states: int
    events: tuple[SaveEvent, ...] = ()


def save_problems(settings: SaveSettings) -> Iterator[Finding]:
    """Cadences that end the trainer, or that leave nothing."""
    for name in ("save_every_n_epochs", "save_every_n_steps"):
        value = getattr(settings, name)
        # train_network.py:1811 and :1669 divide by it, the first only after a whole epoch
        if value is not None and value < 1 and not (name.endswith("epochs") and _has_ratio(settings)):
            hint = f"leave args.{name} out to save without it"
            yield error(f"args.{name}", f"{name} is {value}: must be 1 or more", hint=hint)
    if settings.save_last_n_epochs is not None and settings.save_last_n_epochs < 1:
        text = f"save_last_n_epochs is {settings.save_last_n_epochs}: every epoch's checkpoint is removed when written"
        yield warning("args.save_last_n_epochs", text, hint="write 1 or more, or leave it out to keep all")


def plan_saves(settings: SaveSettings, *, total: int, steps_per_epoch: int, epochs: int) -> SavePlan:
    events = tuple(_events(settings, total, steps_per_epoch, epochs))
    return SavePlan(*_kept(events, state=False), *_kept(events, state=True), events)


def _kept(events: Iterable[SaveEvent], *, state: bool) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """What is written of one kind, what of it is still there at the end, and the most that is there at once."""
    written: list[str] = []
    present: dict[str, None] = {}
    most = 0
    for event in (event for event in events if event.state is state):
        if event.removed:
            present.pop(event.name, None)
        else:
            written.append(event.name)
            present[event.name] = None
            most = max(most, len(present))
    return tuple(written), tuple(present), most


def _events(settings: SaveSettings, total: int, steps_per_epoch: int, epochs: int) -> Iterator[SaveEvent]:
    """After a step, after an epoch but the last, and at the end.

    The last epoch has no numbered file (train_network.py:1811): ``<name>.safetensors`` is it.
    """
    every, steps = every_n_epochs(settings, epochs), settings.save_every_n_steps
    for epoch in range(1, epochs + 1):
        before, last = (epoch - 1) * steps_per_epoch, min(epoch * steps_per_epoch, total)
        if steps is not None:
            for step in range(before // steps * steps + steps, last + 1, steps):
                yield from _after_step(settings, steps, step)
        if every is not None and epoch % every == 0 and epoch < epochs:
            yield from _after_epoch(settings, every, epoch)
    if settings.save_state or settings.save_state_on_train_end:
        yield SaveEvent("end", epochs, f"{settings.output_name}-state", state=True)
    yield SaveEvent("end", epochs, f"{settings.output_name}{_suffix(settings)}")


def every_n_epochs(settings: SaveSettings, epochs: int) -> int | None:
    """save_n_epoch_ratio goes before save_every_n_epochs (train_network.py:1387)."""
    ratio = settings.save_n_epoch_ratio
    if ratio is None or not _has_ratio(settings):
        return settings.save_every_n_epochs
    return math.floor(epochs / ratio) or 1


def _has_ratio(settings: SaveSettings) -> bool:
    return settings.save_n_epoch_ratio is not None and settings.save_n_epoch_ratio > 0


def _after_step(settings: SaveSettings, every: int, step: int) -> Iterator[SaveEvent]:
    """train_network.py:1669-1690 and library/checkpoint_io.py:85, :249."""
    yield SaveEvent("step", step, _checkpoint(settings, f"step{step:08d}"))
    if settings.save_state:
        yield SaveEvent("step", step, _state(settings, f"step{step:08d}"), state=True)
        keep = settings.save_last_n_steps_state or settings.save_last_n_steps
        if keep is not None:
            old = _state(settings, f"step{_outlived(step, keep, every):08d}")
            yield SaveEvent("step", step, old, state=True, removed=True)
    if settings.save_last_n_steps is not None:
        old = _checkpoint(settings, f"step{_outlived(step, settings.save_last_n_steps, every):08d}")
        yield SaveEvent("step", step, old, removed=True)


def _outlived(step: int, keep: int, every: int) -> int:
    before = step - keep - 1
    return before - before % every


def _after_epoch(settings: SaveSettings, every: int, epoch: int) -> Iterator[SaveEvent]:
    """train_network.py:1810-1831 and library/checkpoint_io.py:75, :227."""
    yield SaveEvent("epoch", epoch, _checkpoint(settings, f"{epoch:06d}"))
    if settings.save_last_n_epochs is not None:
        old = _checkpoint(settings, f"{epoch - every * settings.save_last_n_epochs:06d}")
        yield SaveEvent("epoch", epoch, old, removed=True)
    if settings.save_state:
        yield SaveEvent("epoch", epoch, _state(settings, f"{epoch:06d}"), state=True)
        keep = settings.save_last_n_epochs_state or settings.save_last_n_epochs
        if keep is not None:
            yield SaveEvent("epoch", epoch, _state(settings, f"{epoch - every * keep:06d}"), state=True, removed=True)


def _checkpoint(settings: SaveSettings, number: str) -> str:
    return f"{settings.output_name}-{number}{_suffix(settings)}"


def _suffix(settings: SaveSettings) -> str:
    """Diffusers' formats are folders (library/checkpoint_io.py:209)."""
    return "" if settings.save_model_as.startswith("diffusers") else f".{settings.save_model_as}"


def _state(settings: SaveSettings, number: str) -> str:
    return f"{settings.output_name}-{number}-state"
