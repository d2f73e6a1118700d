"""Runs in the trainer's Python: imports every train script once, then answers about their real parsers.

Requests and answers are JSON, one a line: ``{"describe": script}`` gives the parser's actions, ``{"script": ...,
"argv": [...]}`` what it reads from a command line, ``{"quit": true}`` ends.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path, PurePath
from typing import Any


def load(script: str) -> argparse.ArgumentParser | str:
    """The script's parser, or why it cannot be had."""
    try:
        parser = importlib.import_module(script.removesuffix(".py")).setup_parser()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to know
        return f"{type(error).__name__}: {error}"
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def plain(value: object) -> object:
    return {"path": str(value)} if isinstance(value, PurePath) else value


def describe(action: argparse.Action) -> dict[str, Any]:
    return {
        "name": action.dest,
        "flags": action.option_strings,
        "action": type(action).__name__,
        "type": getattr(action.type, "__name__", None),
        "nargs": action.nargs,
        "choices": None if action.choices is None else list(action.choices),
        "default": plain(action.default),
        "required": action.required,
    }


def read(parser: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any]:
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            return {"read": {name: plain(value) for name, value in vars(parser.parse_args(argv)).items()}}
        except SystemExit:
            return {"error": complaint.getvalue()[-300:]}


def answer(parsers: dict[str, argparse.ArgumentParser | str], request: dict[str, Any]) -> object:
    parser = parsers[request.get("describe") or request["script"]]
    if isinstance(parser, str):
        return {"error": parser}
    if "argv" in request:
        return read(parser, request["argv"])
    return [describe(action) for action in parser._actions if action.dest != "help"]


def main(root: str, scripts: list[str]) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the scripts print on import is no answer
    sys.path.insert(0, root)
    assert Path(root, scripts[0]).is_file()
    parsers = {script: load(script) for script in scripts}
    for line in sys.stdin:
        out.write(json.dumps(answer(parsers, json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
