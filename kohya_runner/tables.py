"""The tables of this package that are data: TOML files beside the module that reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_table(file: Path) -> dict[str, Any]:
    """What a TOML file of the package holds."""
    held: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    return held
