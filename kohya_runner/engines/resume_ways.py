"""How a script is told how far a run had come, and how the training states look that it goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.record.training_states import ResumeWay

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

INITIAL_STEP = ResumeWay(
    needs=("initial_step",),
    sets=("resume", "initial_step", "initial_epoch", "skip_until_initial_step"),
    folder=r"{name}-(?P<epoch>\d{{6}})-state",
    numbers="train_state.json",
)
"""train_network.py:1233: the whole run's numbers, beginning at a step."""

REMAINING = ResumeWay(
    needs=("resume", "max_train_steps", "output_name", "save_state", "lr_scheduler_type"),
    sets=("resume",),
    folder=r"{name}(?:\+(?P<before>\d{{6}}))?-(?P<epoch>\d{{6}})-state",
    recounts=True,
    steps_inside=True,
)
"""musubi-tuner (training/trainer_base.py:1919), sd-scripts' scripts for whole models: asked for what is left."""


def way_of(options: Container[str], ways: Iterable[ResumeWay]) -> ResumeWay | None:
    """The first of an engine's ways that a script with these options can go; None for none."""
    return next((way for way in ways if all(name in options for name in way.needs)), None)
