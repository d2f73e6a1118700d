"""Runs in the trainer's Python, with shrink/ on PYTHONPATH: imports the train scripts, does each request in a fork.

    PYTHON rules_child.py CHECKOUT SECONDS

Requests are JSON, one a line: ``{"script": ..., "trainer": CLASS, "argv": [...], "log": PATH}`` trains as the script's
own last lines do; ``{"family": ..., "folder": PATH, "log": PATH}`` writes a family's small models. Each is answered
with a line: the fork's exit code, ``null`` where it took more than SECONDS.
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
from typing import TYPE_CHECKING, Any

import tiny_models

if TYPE_CHECKING:
    from collections.abc import Callable


def train(checkout: str, script: str, trainer: str, argv: list[str]) -> None:
    """train_network.py:2037 and its like; ``-`` is a script without a class (sdxl_train.py:965)."""
    sys.argv = [str(Path(checkout) / script)]
    module = importlib.import_module(script.removesuffix(".py"))
    parser = module.setup_parser()
    args = parser.parse_args(argv)
    from library import train_util  # it has them in every version

    train_util.verify_command_line_training_args(args)
    args = train_util.read_config_from_file(args, parser)
    start = module.train if trainer == "-" else getattr(module, trainer)().train
    start(args)


def do(checkout: str, request: dict[str, Any]) -> None:
    if "family" in request:
        tiny_models.main(checkout, request["family"], request["folder"])
    else:
        train(checkout, request["script"], request["trainer"], request["argv"])


def in_a_fork(checkout: str, request: dict[str, Any], work: Callable[[str, dict[str, Any]], None] = do) -> int:
    """The process id of a child that does it; everything it says goes to the log."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    code = 1
    try:
        target = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(target, stream)
        work(checkout, request)
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


def main(checkout: str, seconds: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a script prints on import is no answer
    sys.path[0] = checkout
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if "script" in request:
            importlib.import_module(request["script"].removesuffix(".py"))
        pid = in_a_fork(checkout, request)
        answers.write(json.dumps(ended(pid, float(seconds))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
