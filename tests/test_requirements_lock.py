"""The runner's own environment is the one of the lock file: every package by its version and its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kohya_runner.engines.table import INFOS
from kohya_runner.install.environment import run_together

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "runpod" / "requirements.lock").read_text(encoding="utf-8")


def names(text: str, pattern: str) -> set[str]:
    return {name.lower().replace("_", "-").replace(".", "-") for name in re.findall(pattern, text, re.MULTILINE)}


def test_every_dependency_is_locked_with_hashes():
    asked = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [")[1].split("]")[0]
    wanted = names(asked, r'"([A-Za-z0-9_.-]+)') | {"hatchling", "pip", "editables"}
    assert wanted <= names(LOCK, r"^([A-Za-z0-9_.-]+)==")
    entries = re.split(r"\n(?=[a-z])", LOCK)
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("engine", INFOS.values(), ids=lambda info: info.name)
def test_the_trainers_versions_are_those_that_were_run(engine):
    lines = run_together(engine)
    assert len(lines) > 40
    assert all(re.fullmatch(r'[A-Za-z0-9_.-]+==[^ ]+ ; python_version == "3\.11"', line) for line in lines)
    assert any(line.startswith("accelerate==") for line in lines)
