"""Runs in musubi-tuner's Python with the checkout's src on PYTHONPATH: the parsers that the scripts' mains build.

    PYTHON musubi_parsers.py SCRIPT...

One line of JSON: the actions of each script's parser, by script.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import Any

from live_parsers import describe


class Built(BaseException):
    """A main has come as far as its command line."""


def caught(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
    raise Built(parser)


def parser_of(script: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"musubi_tuner.{script.removesuffix('.py')}")
    try:
        module.main()
    except Built as built:
        parser: argparse.ArgumentParser = built.args[0]
        return parser
    raise AssertionError(f"{script} reads no command line")


def main(scripts: list[str]) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the scripts print on import is no answer
    argparse.ArgumentParser.parse_args = caught  # type: ignore[assignment,method-assign]
    found = {script: [describe(a) for a in parser_of(script)._actions if a.dest != "help"] for script in scripts}
    out.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
