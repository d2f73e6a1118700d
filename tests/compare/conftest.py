"""A workspace with a run in it, and a trainer that paints at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sweep_trainer


@pytest.fixture
def checkout(odd_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = sweep_trainer.painting_checkout(odd_path / "sd scripts")
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(root))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(odd_path / "no config"))
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "work space"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return root


@pytest.fixture
def run_dir(odd_path: Path, checkout: Path) -> Path:
    return sweep_trainer.trained_run(odd_path / "work space")
