"""Card x price x time x money of a run. A number stands beside the machine it came from, or it is not told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from kohya_runner.machine.prices import Offer
from kohya_runner.plan.cost import TimePlan, machine_of
from kohya_runner.plan.forecast import Rent
from kohya_runner.text import duration

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class CostRow:
    """One machine that was measured, or is offered, or both."""

    machine: str
    time: TimePlan | None
    offer: Offer | None
    now: datetime

    @property
    def priced(self) -> TimePlan | None:
        return replace(self.time, price_per_hour=self.offer.price) if self.time and self.offer else self.time

    @property
    def age(self) -> float | None:
        return (self.now - self.offer.when).total_seconds() if self.offer and self.offer.when else None

    def cells(self) -> tuple[str, ...]:
        """Of the table: machine, price an hour, time, cost, sources."""
        priced, offer = self.priced, self.offer
        seconds, cost = (priced.seconds, priced.cost) if priced else (None, None)
        aged = "" if self.age is None else f", {duration(self.age)} old"
        sources = (
            f"time of {self.time.speed.run}" if self.time and self.time.speed else "time: never measured on it",
            f"price of {offer.source}{aged}" if offer else "",
        )
        return (
            self.machine,
            f"{offer.price:.3g}" if offer else UNKNOWN,
            UNKNOWN if seconds is None else duration(seconds),
            UNKNOWN if cost is None else f"{cost:.2f}",
            "; ".join(filter(None, sources)),
        )

    def as_json(self) -> Mapping[str, object]:
        offer = self.offer
        told = self.priced.as_json() if self.priced else {}
        keys = ("seconds", "seconds_per_step", "setup_seconds", "measured_in", "cost")
        return {
            "machine": self.machine, "price_per_hour": offer.price if offer else None,
            "price_source": offer.source if offer else None, "price_age_seconds": self.age,
            "gb": offer.gb if offer else None, **{key: told.get(key) for key in keys},
        }  # fmt: skip


def cost_rows(rent: Rent, offers: Iterable[Offer], now: datetime | None = None) -> tuple[CostRow, ...]:
    """Machines that were measured, the cheapest run first; then those that are only offered, the cheapest hour first.

    Of the latter only what has the memory, as far as it is known.
    """
    now, known = now or datetime.now(timezone.utc), tuple(offers)
    measured = [row for gpus, time in rent.times.items() for row in _measured(gpus, time, known, now)]
    used = {id(row.offer) for row in measured}
    least = next((one.gb for one in rent.classes if one.fits and not one.lines), None)
    free = (offer for offer in known if offer.card and id(offer) not in used)
    # a card whose memory nobody says is not offered: it may be too small
    others = [offer for offer in free if least is not None and offer.gb is not None and offer.gb >= least]
    bare = [CostRow(f"{offer.count} x {offer.card}" if offer.count > 1 else offer.card, None, offer, now)
            for offer in sorted(others, key=lambda offer: offer.price)]  # fmt: skip
    return (*sorted(measured, key=lambda row: _order(row.priced)), *bare)


def _measured(gpus: tuple[str, ...], time: TimePlan, offers: Iterable[Offer], now: datetime) -> Iterator[CostRow]:
    fitting = [offer for offer in offers if offer.is_of(gpus)]
    named = [offer for offer in fitting if offer.card] or fitting
    yield from (CostRow(machine_of(gpus), time, offer, now) for offer in (named or (None,)))


def _order(time: TimePlan | None) -> tuple[bool, float]:
    cost = time.cost if time else None
    return cost is None, cost or (time.seconds if time else None) or 0.0
