"""What every test gets: the tiers, no home folder of its own to litter, and a folder with an awkward name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import tiers
from hypothesis import settings

pytest_plugins = ("checkout_fixtures", "local_hub", "planned_recipes", "practice_fixtures", "sshd", "stays")
"""Fixtures of tests/support that more than one room uses."""

settings.register_profile("daily", derandomize=True, deadline=None)  # the same examples on every machine
settings.register_profile("full", deadline=None)

ENGINE = Path(__file__).with_name("engine")

for name in ("COLUMNS", "LINES"):  # pytest-xdist sets them, and they would win over the size of a test's own terminal
    os.environ.pop(name, None)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    # A shell starts what it puts into the background with SIGINT ignored, and children inherit that; the tests of
    # signals need children that hear them. A handled signal is back at its default in a child.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kohya-runner")
    group.addoption(
        "--tier", choices=tiers.TIERS, default="daily",
        help="quick: what needs no trainer; daily (the default): the real trainers, too; full: every case",
    )  # fmt: skip
    group.addoption("--matrix", metavar="FILE", help="write down what was run (docs/matrix.json)")
    group.addoption("--keep", metavar="FOLDER", help="a folder for tables of rules and logs of the engine tests")
    group.addoption("--write-argv", action="store_true", help="write tests/recipes/*.argv anew")


def pytest_configure(config: pytest.Config) -> None:
    tiers.ASKED = tiers.Asked(config.getoption("--tier"), config.getoption("--keep"))
    settings.load_profile("full" if tiers.full() else "daily")
    if config.getoption("--matrix"):
        import matrix

        matrix.FILE = Path(config.getoption("--matrix"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # The modules of the real trainers take seconds to import, on every worker.
    inside = ENGINE in (collection_path, *collection_path.parents)
    return True if inside and config.getoption("--tier") == "quick" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = tiers.TIERS.index(config.getoption("--tier"))
    above = [item for item in items if any(item.get_closest_marker(tier) for tier in tiers.TIERS[chosen + 1 :])]
    if above:
        config.hook.pytest_deselected(items=above)
        items[:] = [item for item in items if item not in set(above)]


@pytest.fixture
def odd_path(tmp_path: Path) -> Path:
    """A folder whose name has a space, a quote and an umlaut."""
    folder = tmp_path / "my 'pod' ä"
    folder.mkdir()
    return folder
