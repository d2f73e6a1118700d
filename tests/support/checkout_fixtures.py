from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_checkout import fake_checkout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(odd_path: Path) -> Path:
    """A stand-in for sd-scripts whose modules import in any Python."""
    return fake_checkout(odd_path / "sd scripts")
