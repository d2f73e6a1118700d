"""Names of optimizers and schedulers that both of kohya's trainers know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT = ("ASGD", "Adadelta", "Adagrad", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
"""Classes of torch.optim, taken by their exact name (library/train_util.py:5126)."""
UNFIT = ("LBFGS", "SparseAdam")
UNSURE = ("Muon",)  # from torch 2.9 on
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "linear": ("last_epoch",),
    "cosine": ("num_cycles", "last_epoch"),
    "cosine_with_restarts": ("last_epoch",),
    "polynomial": ("lr_end", "last_epoch"),
    "constant": ("last_epoch",),
    "constant_with_warmup": ("last_epoch",),
    "inverse_sqrt": ("last_epoch",),
    "cosine_with_min_lr": ("min_lr", "last_epoch"),
    "warmup_stable_decay": ("warmup_type", "decay_type", "last_epoch"),
    "piecewise_constant": ("step_rules", "last_epoch"),
}
"""Schedulers, and what ``lr_scheduler_args`` may hold: the rest is passed by the trainer (train_util.py:5321-5399)."""
ALWAYS_FAIL = ("reduce_lr_on_plateau", "cosine_warmup_with_min_lr")
