"""The rules of sd-scripts' scripts, by the subject that they are shown under."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.engines.rules.context import LORA, Rule, for_methods
from kohya_runner.engines.sd_scripts.rules import (
    controls,
    data,
    families,
    loss,
    methods,
    network,
    network_args,
    optimizer,
    precision,
    run,
    scheduler,
    whole,
)
from kohya_runner.engines.sd_scripts.rules.lines import LINES

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLES: Mapping[str, tuple[Rule, ...]] = {
    "Captions, caches and buckets": data.RULES,
    "Precision, memory and loading": precision.RULES,
    "Network": for_methods(network.RULES, LORA),
    "Network arguments": for_methods(network_args.RULES, LORA),
    "Optimizer and learning rates": optimizer.RULES,
    "Scheduler": scheduler.RULES,
    "Loss, noise and timesteps": loss.RULES,
    "One family alone": families.RULES,
    "Samples, checkpoints and resuming": run.RULES,
    "Full fine-tunes and DreamBooth": methods.RULES,
    "Full fine-tunes of one family": whole.RULES,
    "ControlNet and textual inversion": controls.RULES,
}

SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    subject: tuple(replace(rule, elsewhere=LINES.get(rule.code, {})) for rule in rows)
    for subject, rows in _TABLES.items()
}
