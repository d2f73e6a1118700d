"""The tables of this package that are data: TOML files beside the module that reads them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_table(file: Path) -> dict[str, Any]:
    """What a TOML file of the package holds."""
    return toml(file.read_text(encoding="utf-8"))


def toml(text: str) -> dict[str, Any]:
    """What a TOML text holds; a ValueError where it is none."""
    held: dict[str, Any] = tomllib.loads(text)
    return held


def tupled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a frozen dataclass, as a row of a table says them: its lists become tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
