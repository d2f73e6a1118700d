"""Runs in the trainer's Python: what its functions do with names, and what its packages take, as one JSON object.

PYTHON names_child.py CHECKOUT, and on standard input {"optimizers": [...], "schedulers": [...], "classes": [...]}
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
from typing import Any


def fate(work: Any) -> str:
    """Nothing where it works, else the class of what was raised, and its text."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to know
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def defaults(checkout: str) -> Any:
    """The options of the plainest script, as its parser leaves them."""
    parser = importlib.import_module("train_network").setup_parser()
    assert checkout
    return parser.parse_args(["--max_train_steps=10", "--learning_rate=1.0"])


def parameters(name: str) -> list[str] | None:
    module, _, own = name.rpartition(".")
    try:
        found = inspect.signature(getattr(importlib.import_module(module), own))
    except (ImportError, AttributeError):
        return None
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in found.parameters.values() if parameter.kind in plain]


def launcher() -> dict[str, Any]:
    from accelerate.commands.launch import launch_command_parser

    rows = launch_command_parser()._actions
    return {a.dest: [type(a).__name__, list(a.choices) if a.choices else None] for a in rows if a.dest != "help"}


def main(checkout: str) -> None:
    asked = json.loads(sys.stdin.read())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, checkout)
    os.chdir(checkout)
    import torch
    from library import train_util

    def make(name: str) -> Any:
        args = argparse.Namespace(**{**vars(defaults(checkout)), "optimizer_type": name})
        return train_util.get_optimizer(args, [torch.nn.Parameter(torch.zeros(4, 4))])[2]

    def schedule(name: str) -> None:
        step_rules = ["step_rules='1:10,0.1'"] if name == "piecewise_constant" else None
        ratio = 0.1 if name in ("cosine_with_min_lr", "warmup_stable_decay") else None
        own = {"lr_scheduler": name, "optimizer_type": "AdamW", "lr_scheduler_args": step_rules}
        own |= {"lr_scheduler_min_lr_ratio": ratio, "lr_warmup_steps": 0, "lr_decay_steps": 2}
        args = argparse.Namespace(**{**vars(defaults(checkout)), **own})
        train_util.get_scheduler_fix(args, torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))]), 1)

    found = {
        "optimizers": {name: fate(lambda name=name: make(name)) for name in asked["optimizers"]},
        "schedulers": {name: fate(lambda name=name: schedule(name)) for name in asked["schedulers"]},
        "classes": {name: parameters(name) for name in asked["classes"]},
        "launcher": launcher(),
    }
    out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
