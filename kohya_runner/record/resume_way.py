"""How a script can be told how far a run had come: what a record and its training states are read by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MARK = "+"
"""In a name: what follows are the epochs that were done before. No recipe's name holds it."""


@dataclass(frozen=True, slots=True)
class ResumeWay:
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


def attempt_name(name: str, epoch: int) -> str:
    """The ``output_name`` of an attempt that numbers its files from 1 again, after this many epochs."""
    return f"{name}{MARK}{epoch:06d}"
