"""sd-scripts and what it trains, as ``trainer.toml`` says it: each family's LoRA, and what other methods have else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.engine_info import engine_info
from kohya_runner.engines.support import Support, converters, support
from kohya_runner.tables import read_table

_TABLE = read_table(Path(__file__).with_name("trainer.toml"))
SD_SCRIPTS = engine_info(_TABLE["trainer"])
CONVERTERS = converters(_TABLE)
BROKEN: Mapping[str, str] = _TABLE["broken_resume"]
"""Scripts that write states and cannot read them, and why."""


def rows(family: str, methods: Mapping[str, Mapping[str, Any]]) -> Iterator[Support]:
    """The LoRA of a family, then its other methods."""
    lora = support(family, methods["lora"], method="lora")
    yield lora
    yield from (_other(lora, method, row) for method, row in methods.items() if method != "lora")


def _other(lora: Support, method: str, row: Mapping[str, Any]) -> Support:
    said = _TABLE["methods"][method] | row
    added = _TABLE["methods"][method]["added"] | lora.added | row.get("added", {})
    no_lora = (
        {"network_module": "", "modules": None, "holds": ExpectedTensor(said["holds"])} if "output" in said else {}
    )
    recipe = f"recipes/{lora.family}_{method}.yaml"
    return replace(lora, method=method, recipe=recipe, **(said | no_lora | {"added": added}))


FAMILIES = tuple(row for family, methods in _TABLE["families"].items() for row in rows(family, methods))
ABSENT: Mapping[tuple[str, str], str] = {
    (family, method): one["reason"]
    for one in _TABLE["absent"]
    for method in one["methods"]
    for family in one["families"]
}
"""Pairs that the pinned commit has no script for, with the reason."""
