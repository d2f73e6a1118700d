"""What every test gets: no home folder of its own to litter, and a folder with an awkward name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ("checkout_fixtures", "local_hub", "planned_recipes", "practice_fixtures")
"""Fixtures of tests/support that more than one room uses."""

for name in ("COLUMNS", "LINES"):  # pytest-xdist sets them, and they would win over the size of a test's own terminal
    os.environ.pop(name, None)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    # A shell starts what it puts into the background with SIGINT ignored, and children inherit that; the tests of
    # signals need children that hear them. A handled signal is back at its default in a child.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)


@pytest.fixture
def odd_path(tmp_path: Path) -> Path:
    """A folder whose name has a space, a quote and an umlaut."""
    folder = tmp_path / "my 'pod' ä"
    folder.mkdir()
    return folder
