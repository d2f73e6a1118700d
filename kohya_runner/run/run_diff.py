"""What two runs differ in, and what that did to loss, speed and the figures of a comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kohya_runner.errors import UsageError
from kohya_runner.plan.replay import Difference, RunFacts
from kohya_runner.record import ledger, metrics_file
from kohya_runner.record.ledger import RunView
from kohya_runner.record.record import LARGEST, Record
from kohya_runner.record.run_paths import ComparisonPaths, RunPaths
from kohya_runner.run import views


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs side by side. ``outcome``: each figure that one of them has, None where the other has not."""

    names: tuple[str, str]
    differences: tuple[Difference, ...]
    compared: tuple[str, ...]
    outcome: dict[str, tuple[object, object]]

    def as_json(self) -> dict[str, Any]:
        """The object of ``runs diff --json``."""
        return {
            "version": 1,
            "runs": list(self.names),
            "compared": list(self.compared),
            "differences": [one._asdict() for one in self.differences],
            "outcome": {name: list(pair) for name, pair in self.outcome.items()},
        }


def run_diff(workspace: str | None, before: str, after: str) -> RunDiff:
    """Of two runs that are named as ``status`` takes them, or by their folders."""
    pair = (_view(workspace, before), _view(workspace, after))
    records = [_record(view) for view in pair]
    one, other = (RunFacts.of(record) for record in records)
    figures = [_figures(view.path, record) for view, record in zip(pair, records, strict=True)]
    names = dict.fromkeys((*figures[0], *figures[1]))
    titles = [f"{view.name}/{view.run_id}" for view in pair]
    if titles[0] == titles[1]:
        titles = [str(view.path) for view in pair]
    return RunDiff(
        (titles[0], titles[1]), tuple(one.differences(other)), one.compared(other),
        {name: (figures[0].get(name), figures[1].get(name)) for name in names},
    )  # fmt: skip


def _view(workspace: str | None, word: str) -> RunView:
    folder = Path(word).expanduser()
    if RunPaths(folder).record.is_file():
        return ledger.view(folder.absolute())
    return ledger.find(views.runs_folder(workspace), word)


def _record(view: RunView) -> Record:
    if view.record is None:
        raise UsageError(view.problem)
    return view.record


def _figures(folder: Path, record: Record) -> dict[str, Any]:
    steps = metrics_file.read(folder).steps
    losses = [one.loss for one in steps if one.loss is not None]
    last = max((one.epoch for one in steps if one.epoch is not None), default=None)
    of_last = [one.current for one in steps if one.epoch == last and one.current is not None]
    found = {
        "state": record.state,
        "steps": record.steps_seen,
        "loss at the end": losses[-1] if losses else record.loss,
        "mean loss of the last epoch": fmean(of_last) if of_last else None,
        "seconds per step": record.timings.seconds_per_step,
    }
    return {name: value for name, value in found.items() if value is not None} | _compared(folder)


def _compared(folder: Path) -> dict[str, Any]:
    """The epoch that ``compare`` suggests, and the figures of the last one; nothing where it was not run."""
    file = ComparisonPaths(RunPaths(folder).comparison).result
    try:
        made = json.loads(file.read_bytes()) if file.stat().st_size <= LARGEST else {}
        columns = [column for column in made["columns"] if column.get("epoch") is not None or column.get("pick")]
        figures = {f"compare: {name}": value for name, value in columns[-1]["metrics"].items()} if columns else {}
        return {"compare: suggested": made["suggestion"].get("label"), **figures}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}
