"""When a run has spent its budget. Read from its record, so that a run that was adopted has the same limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.run.observers import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.diagnosis.events import Event
    from kohya_runner.run.recorder import Recorder

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """How many seconds after the trainer's start, and why."""

    after: float
    stop: Stop


def deadline(budget: Mapping[str, Any]) -> Deadline | None:
    """The earlier of the two limits; None where there is none."""
    hours, cost, price = (_positive(budget.get(key)) for key in ("max_hours", "max_cost", "price_per_hour"))
    found = []
    if hours is not None:
        stop = Stop("budget.hours", f"budget.max_hours: {hours:g} hours are over")
        found.append(Deadline(hours * HOUR, stop))
    if cost is not None and price is not None:
        stop = Stop("budget.cost", f"budget.max_cost: {cost:g} is spent, at {price:g} an hour")
        found.append(Deadline(cost / price * HOUR, stop))
    return min(found, key=lambda limit: limit.after, default=None)


def _positive(value: object) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and value > 0 else None  # type: ignore[arg-type, operator]


class BudgetWatch:
    """Asks for the end of a run that has spent its budget. The sentinel does the same where the runner is gone."""

    def __init__(self, recorder: Recorder) -> None:
        """The limits are those of the record."""
        self._recorder = recorder

    def event(self, event: Event) -> None:
        """What the trainer says does not matter."""

    def tick(self) -> Stop | None:
        """The stop, once the time is over."""
        record = self._recorder.now
        limit, gone = deadline(record.budget), record.timings.gone
        return limit.stop if limit and gone is not None and gone >= limit.after else None
