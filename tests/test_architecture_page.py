"""docs/architecture.md names rooms, modules and functions: each is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", PAGE)))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith((".py", ".toml"))])
def test_every_name_on_the_page_leads_to_something(name):
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(("kohya_runner", *parts[:cut])))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return
    pytest.fail(f"there is no {name}")


def test_every_file_on_the_page_is_there():
    files = re.findall(r"`((?:tests/)?[a-z_]+\.(?:py|toml))`", PAGE)
    known = {path.name for path in (ROOT / "kohya_runner").rglob("*.py")} | {"pyproject.toml"}
    assert [file for file in files if file not in known and not (ROOT / file).is_file()] == []


def test_the_table_has_every_room():
    rows = re.findall(r"^\| (`[a-z_]+/`(?: · `[a-z_]+/`)*) \|", PAGE, re.MULTILINE)
    rooms = re.findall(r"`([a-z_]+)/`", " ".join(rows))
    folders = {path.parent.name for path in (ROOT / "kohya_runner").glob("*/__init__.py")}
    assert sorted(rooms) == sorted(folders)
