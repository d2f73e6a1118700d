"""The ``budget`` of a recipe: what an hour costs, and how much of both may be spent."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """Limits of one run. Money is in whatever currency the price is in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

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
