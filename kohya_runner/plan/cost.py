"""How long a run takes and what it costs, from an earlier run like it, and the recipe's limits against that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.engines.support import TABLE
from kohya_runner.findings import Finding, error, info
from kohya_runner.recipe.finish import Budget
from kohya_runner.text import duration

if TYPE_CHECKING:
    from kohya_runner.record.ledger import RunView
    from kohya_runner.record.record import Record

HOUR = 3600
ENOUGH_STEPS = 10
"""Of a run that was stopped: before that the shown speed is that of the warming up."""

WITHOUT_EFFECT: Mapping[str, list[str]] = TABLE["without_time"]
"""Options that leave the time of a step as it is, or nearly: their ``names``, and the ``prefixes`` of others."""
LAUNCH_OPTIONS = ("--num_processes", "--num_machines", "--dynamo")
"""Of accelerate launch: they stand before the script."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What an earlier run showed. ``setup`` is the time from its start to its first step, in seconds."""

    seconds_per_step: float
    setup: float
    run: str


@dataclass(frozen=True, slots=True)
class TimePlan:
    """Steps to come, and time and cost where they can be known: seconds, and the currency of the price."""

    steps: int
    speed: Speed | None = None
    price_per_hour: float | None = None

    @property
    def seconds(self) -> float | None:
        return self.speed.setup + self.steps * self.speed.seconds_per_step if self.speed else None

    @property
    def cost(self) -> float | None:
        if self.seconds is None or self.price_per_hour is None:
            return None
        return self.seconds / HOUR * self.price_per_hour

    def __str__(self) -> str:
        if self.speed is None or self.seconds is None:
            return f"{self.steps} steps; no time estimate yet: run `launch --rehearse` to measure the speed"
        money = "" if self.cost is None else f", costs about {self.cost:.2f} at {self.price_per_hour:g} an hour"
        pace = f"{self.speed.seconds_per_step:.2f} s a step, measured in {self.speed.run}"
        return f"about {duration(self.seconds)}{money}   ({self.steps} steps, {pace})"

    def as_json(self) -> Mapping[str, object]:
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "seconds_per_step": self.speed.seconds_per_step if self.speed else None,
            "setup_seconds": self.speed.setup if self.speed else None,
            "measured_in": self.speed.run if self.speed else None,
            "price_per_hour": self.price_per_hour,
            "cost": self.cost,
        }


def speeds(views: Iterable[RunView], *, name: str, argv: Sequence[str]) -> dict[tuple[str, ...], Speed]:
    """By the names of the GPUs: that of the latest run of this name, with the options that matter; practice is none.

    ``views`` are those of ``ledger.runs``, the oldest first; ``argv`` the command of the plan.
    """
    wanted = speed_key(argv)
    found: dict[tuple[str, ...], Speed] = {}
    for view in views:
        record = view.record
        if record is None or record.practice or record.name != name or not _alike(record, wanted):
            continue
        if (speed := _speed(record)) is not None:
            found[tuple(sorted(str(gpu.get("name")) for gpu in record.gpus))] = speed
    return found


def machine_of(gpus: Sequence[str]) -> str:
    counts = {name: gpus.count(name) for name in gpus}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items()) or "a CPU alone"


def _alike(record: Record, wanted: frozenset[tuple[str, ...]]) -> bool:
    """A rehearsal paints its sample pictures at another time, and its speed is without them."""
    found = speed_key(record.argv)
    if not record.rehearsal:
        return found == wanted
    return not any(not group[0].startswith("--sample_") for group in found ^ wanted)


def _speed(record: Record) -> Speed | None:
    """Over a whole run its saves and epochs' ends are in; of one that was cut short or resumed, what the bar showed."""
    times = record.timings
    if times.started is None or times.first_step is None:
        return None
    run, setup = f"{record.name}/{record.run_id}", max(0.0, times.first_step - times.started)
    if record.rehearsal:  # measured for this very purpose: the saves of the whole run are in it (run/rehearse.py)
        known = record.state == "succeeded" and times.seconds_per_step
        return Speed(known, setup, f"rehearsal {run}") if known else None
    shown = times.seconds_per_step if record.steps_seen >= ENOUGH_STEPS else None
    resumed = any(token.startswith("--resume") for token in record.argv)  # its steps were not all done in its time
    if record.state == "succeeded" and not resumed and times.ended is not None and record.steps_seen > 1:
        shown = (times.ended - times.first_step) / (record.steps_seen - 1)
    if shown is None or shown <= 0:
        return None
    return Speed(shown, setup, run)


def speed_key(argv: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """The script and the options of a command that decide how long a step takes."""
    script = next((n for n, token in enumerate(argv) if token.endswith(".py") and not token.startswith("-")), None)
    if script is None:
        return frozenset()
    processes = [[token] for token in argv[:script] if token.startswith(LAUNCH_OPTIONS)]
    groups = [*processes, [argv[script].rpartition("/")[2]]]
    for token in argv[script + 1 :]:
        if token.startswith("--"):
            groups.append([*token.split("=", 1)])
        else:
            groups[-1].append(token)
    named = ((group[0].removeprefix("--"), group) for group in groups)
    names, without = WITHOUT_EFFECT["names"], tuple(WITHOUT_EFFECT["prefixes"])
    return frozenset(tuple(g) for name, g in named if name not in names and not name.startswith(without))


def budget_findings(
    budget: Budget, time: TimePlan, *, steps_per_epoch: int, places: Mapping[str, str]
) -> Iterator[Finding]:
    """Errors where a measured speed says that a limit will be passed. ``places`` are those of the budget's keys."""
    if budget.max_cost is not None and budget.price_per_hour is None:
        where = places.get("max_cost", "")
        message = "budget.max_cost needs budget.price_per_hour"
        yield error("budget.price", message, where=where, hint="write budget: {price_per_hour: 0.44}, your machine's")
    if not budget.has_limits:
        return
    if time.seconds is None:
        message = f"no time estimate yet: nothing checks {time.steps} steps against the budget"
        hint = "run `launch --rehearse` to measure the speed"
        where = next(filter(None, places.values()), "")
        yield info("budget.unmeasured", message, where=where, hint=hint)
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
        f"write args.max_train_epochs: {epochs} ({duration(seconds)} are enough for that), or {raised}"
        if epochs >= 1
        else raised
    )
