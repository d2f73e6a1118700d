"""The ``budget``, ``guard`` and ``resume`` of a recipe: cost, when to stop, which states are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A mapping of the recipe: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Budget(Strict):
    """Limits of one run. Money is in whatever currency the price is in."""

    price_per_hour: float | None = Field(None, ge=0, strict=False, description="of the whole machine, running")
    max_cost: float | None = Field(
        None, gt=0, strict=False, description="no run that would cost more is launched; one that does is stopped"
    )
    max_hours: float | None = Field(
        None, gt=0, strict=False, description="no run that would take longer is launched; one that does is stopped"
    )

    @property
    def has_limits(self) -> bool:
        """Whether anything is refused at all."""
        return self.max_cost is not None or self.max_hours is not None


class Diverged(Strict):
    """Stop where the smoothed loss has grown far beyond the best one and stays there."""

    factor: float = Field(10.0, gt=1, strict=False, description="how many times the best smoothed loss is too much")
    steps: int = Field(100, ge=1, description="for so many steps without a break")


class Stalled(Strict):
    """Stop where nothing happens. Outside the steps (loading, caching, samples) the wait is four times as long."""

    times: float = Field(20.0, gt=1, strict=False, description="without a step for so many times the time of one")
    least_seconds: float = Field(600.0, gt=0, strict=False, description="and never before this")


class Guard(Strict):
    """What a running training is stopped for; null or ``ignore`` switches a guard off."""

    nan: Literal["stop", "ignore"] = Field("stop", description="a loss or saved weights that are NaN or infinite")
    diverged: Diverged | None = Field(Diverged(), description="a loss that grows and stays large; null switches it off")
    stalled: Stalled | None = Field(Stalled(), description="a trainer that does nothing any more; null switches it off")
    disk: Literal["stop", "prune_states", "ignore"] = Field(
        "stop", description="no room for the next save: stop, or first remove this run's older state folders"
    )


class Resume(Strict):
    """What a run keeps for being continued (docs/resume.md)."""

    states: int | None = Field(
        None, ge=0, le=100,
        description="training states kept, each about three times the LoRA in fp32; "
        "by default 2 under launch --resume, none otherwise",
    )  # fmt: skip
