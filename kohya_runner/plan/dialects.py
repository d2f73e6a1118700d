"""The table of engines' own parts of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.plan import diffusers, musubi, sd_scripts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.plan.built import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "sd-scripts": sd_scripts.DIALECT,
    "musubi-tuner": musubi.DIALECT,
    "diffusers": diffusers.DIALECT,
}
"""By the name of the engine (``trainers/engines.py``)."""
