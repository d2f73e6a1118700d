"""What every test gets: no home folder of its own to litter, and a folder with an awkward name."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def odd_path(tmp_path: Path) -> Path:
    """A folder whose name has a space, a quote and an umlaut."""
    folder = tmp_path / "my 'pod' ä"
    folder.mkdir()
    return folder
