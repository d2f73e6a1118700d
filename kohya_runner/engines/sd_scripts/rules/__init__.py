"""The rules of sd-scripts, by the subject that they are shown under: a TOML file each; their conditions are here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import LORA, Rule
from kohya_runner.engines.rule_table import Condition, read_rules
from kohya_runner.engines.sd_scripts.rules import methods, network, optimizer, training


def _rules(name: str, conditions: Mapping[str, Condition], methods: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    return read_rules(Path(__file__).with_name(f"{name}.toml"), conditions, methods=methods)


SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    "Captions, caches and buckets": _rules("data", training.CONDITIONS),
    "Precision, memory and loading": _rules("precision", training.CONDITIONS),
    "Network": _rules("network", network.CONDITIONS, LORA),
    "Network arguments": _rules("network_args", network.CONDITIONS, LORA),
    "Optimizer and learning rates": _rules("optimizer", optimizer.CONDITIONS),
    "Scheduler": _rules("scheduler", optimizer.CONDITIONS),
    "Loss, noise and timesteps": _rules("loss", training.CONDITIONS),
    "Inpainting": _rules("inpainting", methods.CONDITIONS),
    "LECO": _rules("leco", {}),
    "Anima: LLLite and torch.compile": _rules("anima", methods.CONDITIONS),
    "One family alone": _rules("families", methods.CONDITIONS),
    "Samples, checkpoints and resuming": _rules("run", training.CONDITIONS),
    "Full fine-tunes and DreamBooth": _rules("fine_tunes", methods.CONDITIONS),
    "Full fine-tunes of one family": _rules("whole_models", methods.CONDITIONS),
    "ControlNet and textual inversion": _rules("control", methods.CONDITIONS),
}
