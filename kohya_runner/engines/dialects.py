"""The table of engines' own parts of a plan; only the one that a recipe needs is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engines.built import Dialect

MODULES: Mapping[str, str] = {
    "sd-scripts": "sd_scripts.build",
    "musubi-tuner": "musubi.build",
    "diffusers": "diffusers.build",
}
"""By the name of the engine (``engine_info.py``): the module beside this one whose ``DIALECT`` it is."""


def dialect_of(engine: str) -> Dialect:
    """An engine's own part."""
    found: Dialect = import_module(f"{__package__}.{MODULES[engine]}").DIALECT
    return found
