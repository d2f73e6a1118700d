"""How a script is told how far a run had come, and how the training states look that it goes on from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.engines.diffusers.families import UNET
from kohya_runner.record.resume_way import ResumeWay

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

INITIAL_STEP = ResumeWay(
    needs=("initial_step",),
    sets=("resume", "initial_step", "initial_epoch", "skip_until_initial_step"),
    folder=r"{name}-(?P<epoch>\d{{6}})-state",
    numbers="train_state.json",
)
"""train_network.py:1233: the whole run's numbers, beginning at a step."""

CHECKPOINT = ResumeWay(
    needs=("resume_from_checkpoint",),
    sets=("resume_from_checkpoint",),
    folder=r"checkpoint-(?P<step>\d{{1,9}})",
    weights=UNET,
    steps_inside=True,
    bar="epoch",
)
"""train_instruct_pix2pix.py:820: the folder's own name says the step."""

CHECKPOINT_XL = replace(CHECKPOINT, needs=(*CHECKPOINT.needs, "pretrained_vae_model_name_or_path"), bar="on")
"""train_instruct_pix2pix_sdxl.py:921: it begins the epoch anew, and its bar at what is done."""

REMAINING = ResumeWay(
    needs=("resume", "max_train_steps", "output_name", "save_state", "lr_scheduler_type"),
    sets=("resume",),
    folder=r"{name}(?:\+(?P<before>\d{{6}}))?-(?P<epoch>\d{{6}})-state",
    recounts=True,
    steps_inside=True,
)
"""musubi-tuner (training/trainer_base.py:1919), sd-scripts' scripts for whole models: asked for what is left."""

BROKEN: Mapping[str, str] = {
    "sdxl_train_control_net.py": "its own load_state_dict returns nothing, so no state can be loaded "
    "(library/sdxl_original_control_net.py:89)",
}
"""Scripts that write states and cannot read them, and why."""

WAYS = (INITIAL_STEP, CHECKPOINT_XL, CHECKPOINT, REMAINING)


def way_of(options: Container[str]) -> ResumeWay | None:
    """The first way that a script with these options can go; None for none."""
    return next((way for way in WAYS if all(name in options for name in way.needs)), None)
