"""Runs in an engine's own Python: the parsers of its scripts, described, as one JSON object on the last line.

``python engine_parsers.py FOLDER ENTRY SCRIPT...``: each script's entry is called, and ends where it would parse.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys

from live_parsers import describe


class CaughtError(Exception):
    """The parser as it is when its script begins to parse."""


def caught(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
    raise CaughtError(parser)


def parser_of(script: str, entry: str) -> argparse.ArgumentParser:
    module = importlib.import_module(script.removesuffix(".py"))
    try:
        getattr(module, entry)()
    except CaughtError as found:
        return found.args[0]
    raise AssertionError(f"{script}: {entry}() parses nothing")


def main(folder: str, entry: str, *scripts: str) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the scripts print on import is no answer
    sys.path.insert(0, folder)
    argparse.ArgumentParser.parse_args = caught  # type: ignore[method-assign, assignment]
    rows = {script: [describe(a) for a in parser_of(script, entry)._actions if a.dest != "help"] for script in scripts}
    out.write(json.dumps(rows) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
