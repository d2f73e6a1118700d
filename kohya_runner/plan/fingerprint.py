"""What makes two launches the same run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.arguments import Arg
    from kohya_runner.engines.built import TextFile
    from kohya_runner.install.checkout import Checkout

RESUMING = ("save_state", "save_last_n_epochs_state", "checkpointing_steps", "checkpoints_total_limit")
"""Options that ``--resume`` adds: they change nothing of what is trained."""


def fingerprint(
    args: Iterable[Arg], layout: Layout, checkout: Checkout | None, *, practice: bool, files: Iterable[TextFile] = ()
) -> str:
    """What makes two launches the same run: options, data, trainer; not the folder the outputs go to."""
    moving = {"output_dir", "logging_dir", "train_data_dir", "reg_data_dir", "dataset_config", *RESUMING}
    tokens = [arg.tokens for arg in args if arg.name not in moving]
    texts = [file.text.replace(str(layout.root), "") for file in files]
    text = json.dumps([tokens, layout.key, checkout.commit if checkout else None, practice, *texts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
