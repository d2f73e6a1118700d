"""The rules of sd-scripts' scripts, by the subject that they are shown under."""

from __future__ import annotations

from collections.abc import Mapping

from kohya_runner.engines.rule_context import LORA, Rule, for_methods
from kohya_runner.engines.sd_scripts.rules import (
    data_and_loss,
    families,
    methods,
    network,
    network_args,
    optimizer,
    run_and_precision,
    scheduler,
)

SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    "Captions, caches and buckets": data_and_loss.DATA_RULES,
    "Precision, memory and loading": run_and_precision.PRECISION_RULES,
    "Network": for_methods(network.RULES, LORA),
    "Network arguments": for_methods(network_args.RULES, LORA),
    "Optimizer and learning rates": optimizer.RULES,
    "Scheduler": scheduler.RULES,
    "Loss, noise and timesteps": data_and_loss.LOSS_RULES,
    "One family alone": families.RULES,
    "Samples, checkpoints and resuming": run_and_precision.RUN_RULES,
    "Full fine-tunes and DreamBooth": methods.FINE_TUNE_RULES,
    "Full fine-tunes of one family": methods.WHOLE_MODEL_RULES,
    "ControlNet and textual inversion": methods.CONTROL_RULES,
}
