"""What was really run, as a page: the engine tests write docs/matrix.json, this writes docs/matrix.md of it.

    PYTHON -m pytest tests/engine --tier full --matrix docs/matrix.json -k "tiny or families or musubi_e or diffusers"
    PYTHON tests/engine/matrix.py docs/matrix.json > docs/matrix.md

A cell says "ran" where the file has a run of that pair by the script that the table names, and "loads" where what that
very run left was loaded; nothing else does. A run that is written down again has to be loaded again.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner import safe_files
from kohya_runner.engines import catalogue, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Path | None = None
"""Where a run is written down; the tests' ``--matrix`` sets it."""
SD_SCRIPTS = "sd-scripts"
HEAD = """# What was run

Each "ran" is a whole launch of the recipe of that pair by the unmodified script of the commit that the second table
names, on models of the real structure and small widths, on a CPU: two epochs, two
checkpoints that differ, no NaN, steps and batches as planned (InstructPix2Pix: one epoch). No full-size model was
trained for it. "Planned only" is a recipe that every run of the tests plans and nobody ran.

"Loads" is said of what that very launch left: the trainer's own generator, unmodified, loaded it and painted with it,
no picture black or NaN, and what was trained changes the picture at the same seed. A LoRA, a model and a ControlNet
paint another picture than the base model alone, a ControlNet also another with another condition image; an embedding
and a pipeline that edits paint another than they did an epoch or a step before. The second table names the generator,
and why where nothing could be loaded. It proves that a file is whole and is read, not that anything was learnt: the
ControlNets that paint were trained with a learning rate that shows in six steps.

"Stand-in" and "not available" are what `kohya-runner models` says, with the reason; "-" is a pair that it does not
list, for FLUX.1 Kontext, FLUX.2 and Qwen-Image-Edit edit by their LoRA. This page is written from
[matrix.json](matrix.json) by `tests/engine/matrix.py`, that file by the engine tests.

"""
REASONS = {"no_generator": "no generator", "refused": "not loaded"}
Pair = tuple[str, str, str]
"""Family, method, and the variant of the family; "" is the usual one."""
COLUMNS = ("family", "method", "script", "steps", "loads in", "trainer", "date")


def note(run: Mapping[str, Any]) -> None:
    """Write a run down, in place of an older one of the same pair and variant; nothing happens without a file."""
    if FILE is None:
        return
    known = json.loads(FILE.read_text(encoding="utf-8"))["runs"] if FILE.is_file() else []
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    kept = [other for other in known if _pair(other) != _pair(run)]
    rows = sorted([*kept, {"engine": SD_SCRIPTS, **run, "date": today}], key=_pair)
    safe_files.write_json(FILE, {"version": 1, "runs": rows})


def page(runs: Iterable[Mapping[str, Any]]) -> str:
    """The page, in Markdown."""
    by_pair = {_pair(run): run for run in runs if _row_of(run)}
    known = table.FAMILIES
    methods = tuple(dict.fromkeys(row.method for row in known))
    named = tuple(dict.fromkeys(row.family for row in known))
    lines = [f"| family | {' | '.join(methods)} |", f"|{'---|' * (len(methods) + 1)}"]
    lines += [f"| {f} | {' | '.join(_cell(by_pair, f, m) for m in methods)} |" for f in named]
    why = list(dict.fromkeys(reason for run in by_pair.values() for reason in _reasons(run).values()))
    lines += ["", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(_told(run, why)[name] for name in COLUMNS)} |" for run in by_pair.values()]
    lines += [f"\n{number}. {reason}." for number, reason in enumerate(why, 1)]
    return HEAD + "\n".join(lines) + "\n"


def _pair(run: Mapping[str, Any]) -> Pair:
    return (str(run["family"]), str(run["method"]), str(run.get("variant", "")))


def _row_of(run: Mapping[str, Any]) -> bool:
    row = table.find(run["family"], run["method"])
    return row is not None and row.script == run["script"]


def _cell(by_pair: Mapping[Pair, Mapping[str, Any]], family: str, method: str) -> str:
    run = by_pair.get((family, method, ""))
    if run is not None:
        return "ran, loads" if run.get("loads_in") else "ran"
    if table.find(family, method) is not None:
        return "planned only"
    states = {(row.family, row.method): row.state for row in catalogue.models()}
    return states.get((family, method), "-").removesuffix(" upstream")


def _told(run: Mapping[str, Any], why: list[str]) -> dict[str, str]:
    """What the columns say of a run; where no generator at the commit reads what it left, the number of the reason."""
    not_loaded = (f"{word}, {why.index(reason) + 1}." for word, reason in _reasons(run).items())
    told = {name: str(run[name]) for name in COLUMNS if name in run}
    told |= {"family": f"{run['family']} ({run['variant']})"} if run.get("variant") else {}
    return {**told, "trainer": f"{run['engine']} {run['commit'][:10]}",
            "loads in": next(not_loaded, str(run.get("loads_in", "not tried")))}  # fmt: skip


def _reasons(run: Mapping[str, Any]) -> dict[str, str]:
    return {word: run[key] for key, word in REASONS.items() if key in run}


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["runs"]))
