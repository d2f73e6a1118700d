"""The ``guard`` of a recipe: when a run that goes wrong is stopped."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Diverged(_Strict):
    """Stop where the smoothed loss has grown far beyond the best one and stays there."""

    factor: float = Field(10.0, gt=1, strict=False, description="how many times the best smoothed loss is too much")
    steps: int = Field(100, ge=1, description="for so many steps without a break")


class Stalled(_Strict):
    """Stop where nothing goes on. Outside the steps (loading, caching, samples) the wait is four times as long."""

    times: float = Field(20.0, gt=1, strict=False, description="without a step for so many times the time of one")
    least_seconds: float = Field(600.0, gt=0, strict=False, description="and never before this")


class Guard(_Strict):
    """What a running training is stopped for; null or ``ignore`` switches a guard off."""

    nan: Literal["stop", "ignore"] = Field("stop", description="a loss or saved weights that are no finite numbers")
    diverged: Diverged | None = Field(Diverged(), description="a loss that grows and stays large; null is off")
    stalled: Stalled | None = Field(Stalled(), description="a trainer that does nothing any more; null is off")
    disk: Literal["stop", "prune_states", "ignore"] = Field(
        "stop", description="no room for the next save: stop, or first remove this run's older state folders"
    )
