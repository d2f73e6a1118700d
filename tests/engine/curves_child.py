"""Runs inside a trainer's own Python: the learning rates of a whole run, and of one that is cut and resumed.

Arguments: the folder that its modules are imported from, "" for sd-scripts and anything for musubi-tuner, and a JSON
file of cases: the ``script``, the options ``whole`` and ``rest``, the step ``cut`` and the number of steps ``total``.
Prints one JSON list: the rates of every step in one run, and those of the two attempts one after the other.
"""

# mypy: ignore-errors

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path

CHECKOUT, TRAINER, CASES = sys.argv[1], sys.argv[2], sys.argv[3]
os.chdir(CHECKOUT)
sys.path.insert(0, CHECKOUT)

import torch  # noqa: E402


def sd_scripts(argv, script):
    from library import train_util

    module = importlib.import_module(script.removesuffix(".py"))
    return module.setup_parser().parse_args(argv), train_util.get_scheduler_fix


def musubi(argv, _):
    from musubi_tuner.training import parser_common, trainer_base

    trainer = object.__new__(trainer_base.NetworkTrainer)
    return parser_common.setup_parser_common().parse_args(argv), trainer.get_lr_scheduler


def scheduler(argv, script):
    parameter = torch.nn.Parameter(torch.zeros(1))
    args, make = (musubi if TRAINER else sd_scripts)(argv, script)
    optimizer = torch.optim.AdamW([parameter], lr=args.learning_rate)
    return optimizer, make(args, optimizer, 1)


def rates(optimizer, made, steps):
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        made.step()


def cut_and_resumed(case):
    optimizer, made = scheduler(case["whole"], case["script"])
    first = list(rates(optimizer, made, case["cut"]))
    again, resumed = scheduler(case["rest"], case["script"])
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict({**made.state_dict()})
    return [*first, *rates(again, resumed, case["total"] - case["cut"])]


def judged(case):
    with contextlib.redirect_stdout(sys.stderr):
        optimizer, made = scheduler(case["whole"], case["script"])
        return [list(rates(optimizer, made, case["total"])), cut_and_resumed(case)]


sys.stdout.write(json.dumps([judged(case) for case in json.loads(Path(CASES).read_text())]))
