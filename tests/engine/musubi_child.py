"""Runs in musubi-tuner's Python, with shrink/ and the checkout's src on PYTHONPATH: does each request in a fork.

    PYTHON musubi_child.py SECONDS

Requests are JSON, one a line: ``{"script": NAME, "argv": [...], "log": PATH}``; the script is imported once, before the
fork. Each is answered with a line: the fork's exit code, ``null`` where it took more than SECONDS.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from rules_child import ended, in_a_fork


def main(seconds: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a script prints on import is no answer
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        importlib.import_module(f"musubi_tuner.{request['script']}")
        pid = in_a_fork("", request, run)
        answers.write(json.dumps(ended(pid, float(seconds))) + "\n")
        answers.flush()


def run(_: str, request: dict[str, object]) -> None:
    """As the script's own last lines do."""
    sys.argv = [str(request["script"]), *request["argv"]]  # type: ignore[misc]
    importlib.import_module(f"musubi_tuner.{request['script']}").main()


if __name__ == "__main__":
    main(*sys.argv[1:])
