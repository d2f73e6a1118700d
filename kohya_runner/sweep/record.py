"""``sweeps/<name>/sweep.json``: what was asked for and when, so that the same command goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kohya_runner.errors import UsageError
from kohya_runner.record import ledger, lock
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import read as read_metrics
from kohya_runner.remote import stay as stays
from kohya_runner.run.spending import spending
from kohya_runner.safe_files import write_text
from kohya_runner.sweep.variants import Variant

HOLDER = "sweep"


class SweepRecord(BaseModel):
    """The whole file. ``fingerprints`` are those of the plans by which runs were begun, by the names of the runs."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    recipe: str
    began: float  # seconds since 1970: what ran before is not paid for by this sweep
    labels: dict[str, str]  # of all runs that were ever part of it, by their names
    fingerprints: dict[str, str]


def read(folder: Path) -> SweepRecord | None:
    """None where there is none. ``UsageError``: the file cannot be understood; nothing is overwritten."""
    file = folder / "sweep.json"
    try:
        return SweepRecord.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as fault:
        said = f"{file}: cannot be understood: {str(fault).splitlines()[0]}"
        raise UsageError(said, hint="move it away to begin the sweep anew; its runs stay") from None


def write(folder: Path, record: SweepRecord) -> None:
    """Whole or not at all."""
    write_text(folder / "sweep.json", record.model_dump_json(indent=2) + "\n")


def changes(before: SweepRecord | None, now: SweepRecord) -> Iterator[str]:
    """What is not as it was when this sweep began, a line each."""
    for name in now.labels if before else ():
        assert before is not None  # noqa: S101 - the loop is empty
        if name not in before.labels:
            yield f"new in this sweep: {name}"
        elif name in before.fingerprints and before.fingerprints[name] != now.fingerprints[name]:
            yield f"recipe, data or trainer have changed since {name} was planned: what is finished is trained anew"
    for name in before.labels if before else ():
        if name not in now.labels:
            yield f"no longer asked for, and kept: {name}"


def held(folder: Path) -> contextlib.AbstractContextManager[None]:
    """One sweep of a name at a time; ``RunExistsError`` names the process of another one."""
    return lock.held(
        folder, HOLDER, f"{folder.name}: this sweep goes on", "wait for its end, or stop it with Ctrl-C there"
    )


@dataclass(frozen=True, slots=True)
class VariantRow:
    """How one run stands. ``seconds`` are what this sweep pays for; ``said`` is why it is not finished."""

    variant: Variant
    view: RunView | None
    seconds: float
    said: str = ""

    @property
    def state(self) -> str:
        return self.view.state if self.view else "not started"

    @property
    def loss(self) -> float | None:
        loss = self.view.record.loss if self.view and self.view.record else None
        return loss if isinstance(loss, float) else None

    def as_json(self, price: float | None) -> Mapping[str, Any]:
        record = self.view.record if self.view else None
        return {
            "name": self.variant.name, "label": self.variant.label, "overrides": list(self.variant.overrides),
            "run": f"{self.view.name}/{self.view.run_id}" if self.view else None, "state": self.state,
            "steps": record.steps_seen if record else 0, "total": record.steps_planned if record else None,
            "loss": self.loss, "seconds": round(self.seconds, 1),
            "cost": None if price is None else round(price * self.seconds / 3600, 4), "said": self.said,
        }  # fmt: skip


def rows(variants: tuple[Variant, ...], runs: Path, began: float, said: Mapping[str, str]) -> tuple[VariantRow, ...]:
    """Each run as it stands now, its seconds over all attempts since the sweep began."""
    views = ledger.runs(runs)
    found = []
    for variant in variants:
        mine = [view for view in views if view.name == variant.name]
        paid = [v for v in mine if v.record and (v.record.timings.queued or 0.0) >= began]
        seconds = sum(map(_seconds, paid))
        found.append(VariantRow(variant, mine[-1] if mine else None, seconds, said.get(variant.name, "")))
    return tuple(found)


def _seconds(view: RunView) -> float:
    """What is paid for: the machine of a run that was elsewhere, else the run itself."""
    stay = stays.read(view.path)
    if stay is not None and stay.paid_from is not None:
        return max(0.0, (stay.paid_until or time.time()) - stay.paid_from)
    if view.record is None:
        return 0.0
    return spending(view.path, view.record, read_metrics(view.path), state=view.state).total
