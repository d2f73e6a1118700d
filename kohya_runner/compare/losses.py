"""The loss over the steps of a run, and where its epochs end."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.diagnosis.events import Epoch, Step
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST = 256 << 20
"""Bytes; a longer file is not read into memory."""
MOST = 600
"""Points of the curve: more than a page's width shows."""


@dataclass(frozen=True, slots=True)
class Losses:
    """``points`` are (step, loss); ``epochs`` are (epoch, its last step)."""

    points: tuple[tuple[int, float], ...]
    epochs: tuple[tuple[int, int], ...]


def losses_of(run_dir: Path, log: Path) -> Losses | None:
    """From the run's ``metrics.jsonl``, else from the trainer's log; None where neither says a loss."""
    found = _read(RunPaths(run_dir).metrics, _of_metrics) or _read(log, _of_log)
    return found if found and found.points else None


def _read(path: Path, parse: Any) -> Losses | None:
    try:
        if path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    found: Losses = parse(data)
    return found if found.points else None


def _of_metrics(data: bytes) -> Losses:
    points: dict[int, float] = {}
    epochs: dict[int, int] = {}
    for row in _objects(data):
        step, loss, epoch = row.get("step"), row.get("loss"), row.get("epoch")
        if type(step) is int and isinstance(loss, (int, float)) and math.isfinite(loss):
            points[step] = float(loss)
        if type(step) is int and type(epoch) is int:
            epochs[epoch] = max(step, epochs.get(epoch, 0))
    return _losses(points, epochs)


def _objects(data: bytes) -> Iterator[dict[str, Any]]:
    """The objects of the lines; a last line that is being written is none yet."""
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _of_log(data: bytes) -> Losses:
    stream = Stream()
    points: dict[int, float] = {}
    epochs: dict[int, int] = {}
    epoch = step = 0
    for event in (*stream.feed(data), *stream.close()):
        if isinstance(event, Step):
            step = event.step
            points |= {step: event.loss} if event.loss is not None and math.isfinite(event.loss) else {}
        elif isinstance(event, Epoch):
            epochs |= {epoch: step} if epoch else {}
            epoch = event.number
    return _losses(points, epochs | ({epoch: step} if epoch else {}))


def _losses(points: dict[int, float], epochs: dict[int, int]) -> Losses:
    ordered = sorted(points.items())
    return Losses(tuple(_thinned(ordered)), tuple(sorted(epochs.items())))


def _thinned(points: list[tuple[int, float]]) -> Iterable[tuple[int, float]]:
    every = max(1, -(-len(points) // MOST))
    return (*points[::every], *points[-1:]) if (len(points) - 1) % every else points[::every]
