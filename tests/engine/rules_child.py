"""Runs in the trainer's Python, with shrink/ on PYTHONPATH: imports one train script, trains each case in a fork.

    PYTHON rules_child.py CHECKOUT SCRIPT TRAINER_CLASS SECONDS

Requests are JSON, one a line: ``{"argv": [...], "log": PATH}``. Each is answered with a line: the fork's exit
code, ``null`` where it took more than SECONDS. What the fork does is what the script's own last lines do.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def train(module: Any, trainer: str, argv: list[str]) -> None:
    """train_network.py:1903 and its like; ``-`` is a script without a class (sdxl_train.py:945)."""
    parser = module.setup_parser()
    args = parser.parse_args(argv)
    module.train_util.verify_command_line_training_args(args)
    args = module.train_util.read_config_from_file(args, parser)
    start = module.train if trainer == "-" else getattr(module, trainer)().train
    start(args)


def in_a_fork(module: Any, trainer: str, argv: list[str], log: str) -> int:
    """The process id of a child that trains; everything it says goes to the log."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    code = 1
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(target, stream)
        train(module, trainer, argv)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int, seconds: float) -> int | None:
    """The exit code; None where the child had to be killed with all it started."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main(checkout: str, script: str, trainer: str, seconds: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the script prints on import is no answer
    sys.path[0] = checkout
    sys.argv = [str(Path(checkout) / script)]
    module = importlib.import_module(script.removesuffix(".py"))
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        pid = in_a_fork(module, trainer, request["argv"], request["log"])
        answers.write(json.dumps(ended(pid, float(seconds))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
