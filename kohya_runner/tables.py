"""The tables of this package that are data: TOML files beside the module that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli  # the standard tomllib, compiled: a plan reads 29 tables in 13 instead of 40 ms


def read_table(file: Path) -> dict[str, Any]:
    return toml(file.read_text(encoding="utf-8"))


def toml(text: str) -> dict[str, Any]:
    """What a TOML text holds; a ValueError where it is none."""
    held: dict[str, Any] = tomli.loads(text)
    return held


def tupled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a frozen dataclass, as a row of a table says them: its lists become tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
