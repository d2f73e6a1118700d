"""A recipe's limits of time and money against what the run will take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error, info
from kohya_runner.plan.cost import HOUR, TimePlan
from kohya_runner.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kohya_runner.recipe.limits import Budget


def findings(budget: Budget, time: TimePlan, *, steps_per_epoch: int, places: Mapping[str, str]) -> tuple[Finding, ...]:
    """Errors where a measured speed says that a limit will be passed. ``places`` are those of the budget's keys."""
    return tuple(_findings(budget, time, steps_per_epoch, places))


def _findings(budget: Budget, time: TimePlan, steps_per_epoch: int, places: Mapping[str, str]) -> Iterator[Finding]:
    if budget.max_cost is not None and budget.price_per_hour is None:
        where = places.get("max_cost", "")
        message = "budget.max_cost needs budget.price_per_hour"
        yield error("budget.price", message, where=where, hint="write budget: {price_per_hour: 0.44}, your machine's")
    if not budget.has_limits:
        return
    if time.seconds is None:
        message = f"no time estimate yet: nothing checks {time.steps} steps against the budget"
        hint = "run `launch --rehearse` to measure the speed"
        yield info("budget.unmeasured", message, where=_first(places), hint=hint)
        return
    yield from _over(budget, time, steps_per_epoch, places)


def _over(budget: Budget, time: TimePlan, steps_per_epoch: int, places: Mapping[str, str]) -> Iterator[Finding]:
    if time.seconds is None:
        return
    if budget.max_cost is not None and time.cost is not None and time.cost > budget.max_cost:
        share = budget.max_cost / time.cost * time.seconds
        message = f"the run costs about {time.cost:.2f} ({time}), more than budget.max_cost: {budget.max_cost:g}"
        hint = _fewer(time, share, steps_per_epoch, "max_cost")
        yield error("budget.cost", message, where=places.get("max_cost", ""), hint=hint)
    if budget.max_hours is not None and time.seconds > budget.max_hours * HOUR:
        message = f"the run takes {time}, more than budget.max_hours: {budget.max_hours:g}"
        hint = _fewer(time, budget.max_hours * HOUR, steps_per_epoch, "max_hours")
        yield error("budget.hours", message, where=places.get("max_hours", ""), hint=hint)


def _fewer(time: TimePlan, seconds: float, steps_per_epoch: int, limit: str) -> str:
    """The whole epochs that keep to the limit."""
    raised = f"raise budget.{limit}"
    if time.speed is None or steps_per_epoch < 1:
        return raised
    steps = (seconds - time.speed.setup) / time.speed.seconds_per_step
    epochs = math.floor(steps / steps_per_epoch)
    return (
        f"write max_train_epochs: {epochs} ({duration(seconds)} are enough for that), or {raised}"
        if epochs >= 1
        else raised
    )


def _first(places: Mapping[str, str]) -> str:
    return next((place for place in places.values() if place), "")
