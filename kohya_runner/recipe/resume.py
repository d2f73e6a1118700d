"""The ``resume`` of a recipe: how many training states are kept, so that a run that was cut can go on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Resume(BaseModel):
    """What a run keeps for being continued (docs/resume.md)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    states: int | None = Field(
        None, ge=0, le=100,
        description="training states kept, each about three times the LoRA in fp32; "
        "left open: 2 under launch --resume, none otherwise",
    )  # fmt: skip
