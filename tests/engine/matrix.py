"""What was really run, as a page: the engine tests write docs/matrix.json, this writes docs/matrix.md of it.

    export KOHYA_MATRIX=$PWD/docs/matrix.json KOHYA_METHODS_ENGINE=all KOHYA_ENGINE_FAMILIES=all
    PYTHON -m pytest tests/engine -k tiny
    PYTHON tests/engine/matrix.py docs/matrix.json > docs/matrix.md

A cell says "ran" where the file has a run of that pair by the script that the table names; nothing else does.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner import atomic
from kohya_runner.trainers import families, method_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "KOHYA_MATRIX"
SD_SCRIPTS = "sd-scripts"
HEAD = """# What was run

Each "ran" is a whole launch of the recipe of that pair by the unmodified script of the commit below, on models of the
real structure and small widths, on a CPU: two epochs, two checkpoints that differ, no NaN, steps and batches as planned
(InstructPix2Pix: one epoch, and the pipeline it left edits a picture). No full-size model was trained for it. "Planned
only" is a recipe that every run of the tests plans and nobody ran. This page is written from [matrix.json](matrix.json)
by `tests/engine/matrix.py`, that file by the engine tests.

"""


def note(run: Mapping[str, Any]) -> None:
    """Write a run down, in place of an older one of the same pair; nothing happens without the variable."""
    if not os.environ.get(VARIABLE):
        return
    path = Path(os.environ[VARIABLE])
    known = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    kept = [other for other in known if _pair(other) != _pair(run)]
    rows = sorted([*kept, {"engine": SD_SCRIPTS, **run, "date": today}], key=lambda row: (row["family"], row["method"]))
    atomic.write_json(path, {"version": 1, "runs": rows})


def page(runs: Iterable[Mapping[str, Any]]) -> str:
    """The page, in Markdown."""
    by_pair = {_pair(run): run for run in runs}
    known = families.TABLE
    methods = tuple(dict.fromkeys(row.method for row in known))
    named = tuple(dict.fromkeys(row.family for row in known))
    lines = [f"| family | {' | '.join(methods)} |", f"|{'---|' * (len(methods) + 1)}"]
    lines += [f"| {f} | {' | '.join(_cell(by_pair, f, m) for m in methods)} |" for f in named]
    ran = [run for run in by_pair.values() if _row_of(run)]
    detail = ["", "| family | method | script | steps | trainer | date |", "|---|---|---|---|---|---|"]
    columns = ("family", "method", "script", "steps", "trainer", "date")
    told = [{**run, "trainer": f"{run['engine']} {run['commit'][:10]}"} for run in ran]
    detail += [f"| {' | '.join(str(one[name]) for name in columns)} |" for one in told]
    return HEAD + "\n".join([*lines, *detail]) + "\n"


def _pair(run: Mapping[str, Any]) -> tuple[str, str]:
    return (str(run["family"]), str(run["method"]))


def _row_of(run: Mapping[str, Any]) -> bool:
    row = families.find(*_pair(run))
    return row is not None and row.script == run["script"]


def _cell(by_pair: Mapping[tuple[str, str], Mapping[str, Any]], family: str, method: str) -> str:
    run = by_pair.get((family, method))
    if run is not None and _row_of(run):
        return "ran"
    if families.find(family, method) is not None:
        return "planned only"
    return "not available" if (family, method) in method_rows.ABSENT else "-"


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["runs"]))
