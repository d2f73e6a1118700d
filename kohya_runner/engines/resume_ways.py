"""How a script is told how far a run had come, and how the training states look that it goes on from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from kohya_runner.engines.diffusers.rows import UNET

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

MARK = "+"
"""In a name: what follows are the epochs that were done before. No recipe's name holds it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to go on; a script that has the options ``needs`` goes this way.

    ``folder`` is a state's name, a regular expression after the run's name is put in; its groups say the epochs or
    steps that were done, ``before`` those of earlier attempts. ``weights`` and ``numbers`` are files in it.
    """

    needs: tuple[str, ...]
    sets: tuple[str, ...]  # options that --resume sets, and a recipe may not
    folder: str
    weights: str = "model.safetensors"
    numbers: str = ""  # where the trainer writes its counts; "" where it writes none
    recounts: bool = False  # epochs, steps and files are numbered from 1 again
    steps_inside: bool = False  # whether it can go on inside an epoch, and end inside one
    bar: Literal["anew", "epoch", "on"] = "anew"  # begins at 0, at 0 with what of the epoch is skipped, at what is done

    def bar_offset(self, done: int, steps_per_epoch: int) -> int:
        """What is to be added to the bar's number for the step in the whole run."""
        return {"anew": done, "epoch": done - done % steps_per_epoch, "on": 0}[self.bar]


INITIAL_STEP = Way(
    needs=("initial_step",),
    sets=("resume", "initial_step", "initial_epoch", "skip_until_initial_step"),
    folder=r"{name}-(?P<epoch>\d{{6}})-state",
    numbers="train_state.json",
)
"""train_network.py:1233: the whole run's numbers, beginning at a step."""

CHECKPOINT = Way(
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

REMAINING = Way(
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


def way_of(options: Container[str]) -> Way | None:
    """The first way that a script with these options can go; None for none."""
    return next((way for way in WAYS if all(name in options for name in way.needs)), None)


def attempt_name(name: str, epoch: int) -> str:
    """The ``output_name`` of an attempt that numbers its files from 1 again, after this many epochs."""
    return f"{name}{MARK}{epoch:06d}"
