"""Runs in the trainer's Python: the options of scripts as their own parsers have them, as one JSON object.

python all_parsers_child.py CHECKOUT SCRIPT...
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main(checkout: str, *scripts: str) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, checkout)
    os.chdir(checkout)
    found = {}
    for script in scripts:
        try:
            module = importlib.import_module(script.removesuffix(".py"))
        except ImportError as error:  # of a package that is too new for it
            found[script] = str(error)
            continue
        rows = module.setup_parser()._actions
        own = [action for action in rows if action.dest != "help"]
        found[script] = {a.dest: [a.option_strings, list(a.choices) if a.choices else None, a.default] for a in own}
    out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
