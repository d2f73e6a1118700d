"""A trainer's own generator, unmodified, once for each list of arguments; torch is imported once, each run is a fork.

    PYTHON generator_child.py CHECKOUT SCRIPT LOG LISTS     in the trainer's Python; LISTS are JSON: [["--a", "b"], ...]

The exit code is that of the first run that failed, and what it said is in the log.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

from rules_child import ended, in_a_fork

SECONDS = 120


def run(checkout: str, request: dict[str, Any]) -> None:
    """As if it had been started alone."""
    script = str(Path(checkout) / request["script"])
    sys.argv = [script, *request["argv"]]
    runpy.run_path(script, run_name="__main__")


def main(checkout: str, script: str, log: str, lists: str) -> int:
    sys.path[0] = checkout
    importlib.import_module("library.train_util")  # what each of the scripts takes most of its time for
    for argv in json.loads(lists):
        pid = in_a_fork(checkout, {"script": script, "argv": argv, "log": log}, run)
        code = ended(pid, SECONDS)
        if code != 0:
            return code or 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
