"""A run's metrics for other programs: JSON, and an event file that TensorBoard reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kohya_runner.atomic import write_bytes
from kohya_runner.errors import UsageError
from kohya_runner.run.metrics.event_files import MARK, Scalar, scalar_record, version_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.record.ledger import RunView
    from kohya_runner.record.metrics_file import Metrics, StepLine


def step_json(step: StepLine) -> dict[str, Any]:
    """What is known of a step."""
    values = {"step": step.step, "t": step.t, "epoch": step.epoch, "loss": step.loss, "current": step.current,
              "seconds_per_step": step.seconds_per_step, "lr": dict(step.lr) or None}  # fmt: skip
    return {name: _number(value) for name, value in values.items() if value is not None}


def event_file(view: RunView, found: Metrics, folder: Path) -> Path:
    """Write the metrics of a run into ``folder/<name>-<run id>/``; the file."""
    if not found.steps:
        raise UsageError(f"{view.path}: nothing was measured", hint="the run had no step yet, or is an old one")
    t = found.steps[0].t
    path = folder / f"{view.name}-{view.run_id}" / f"events.out{MARK}{int(t)}.kohya-runner"
    try:
        write_bytes(path, version_record(t) + b"".join(scalar_record(one) for one in _scalars(found)))
    except OSError as fault:
        raise UsageError(f"--tensorboard {folder}: {fault.strerror or fault}") from fault
    return path


def _scalars(found: Metrics) -> Iterator[Scalar]:
    """Under the trainer's own tags (train_network.py:76), so that curves of both lie over one another."""
    for step in found.steps:
        rates = {f"lr/{name}": value for name, value in step.lr.items()}
        values = {"loss/average": step.loss, "loss/current": step.current, "seconds_per_step": step.seconds_per_step}
        for tag, value in {**values, **rates}.items():
            if value is not None:
                yield Scalar(step.t, step.step, tag, value)


def _number(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
