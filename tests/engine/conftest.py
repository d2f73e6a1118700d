"""Where the real trainer is, or a loud reason why these tests do not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

CONFIG = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kohya-runner" / "config.yaml"


def _configured(key: str, variable: str) -> Path | None:
    if os.environ.get(variable):
        return Path(os.environ[variable])
    if CONFIG.is_file():
        value = (YAML(typ="safe", pure=True).load(CONFIG.read_text(encoding="utf-8")) or {}).get(key)
        return Path(value) if value else None
    return None


@pytest.fixture(scope="session")
def sd_scripts() -> Path:
    """The checkout of the real sd-scripts."""
    root = _configured("sd_scripts", "KOHYA_RUNNER_SD_SCRIPTS")
    vendored = Path(__file__).parents[2] / "vendor" / "sd-scripts"
    root = root or (vendored if (vendored / "train_network.py").is_file() else None)
    if root is None or not (root / "train_network.py").is_file():
        pytest.skip("NO TRAINER: engine tests need an sd-scripts checkout (see: kohya-runner setup)")
    return root


@pytest.fixture(scope="session")
def trainer_python() -> Path:
    """The Python that can import the real trainer."""
    python = _configured("python", "KOHYA_RUNNER_PYTHON")
    if python is None or not python.is_file():
        pytest.skip("NO TRAINER PYTHON: engine tests need one (KOHYA_RUNNER_PYTHON or kohya-runner setup)")
    return python


@pytest.fixture(scope="session")
def musubi_tuner() -> Path:
    """The checkout of the real musubi-tuner."""
    root = _configured("musubi_tuner", "KOHYA_RUNNER_MUSUBI_TUNER")
    vendored = Path(__file__).parents[2] / "vendor" / "musubi-tuner"
    root = root or (vendored if (vendored / "src" / "musubi_tuner").is_dir() else None)
    if root is None or not (root / "src" / "musubi_tuner").is_dir():
        pytest.skip("NO TRAINER: these engine tests need a musubi-tuner checkout (KOHYA_RUNNER_MUSUBI_TUNER)")
    return root


@pytest.fixture(scope="session")
def musubi_python() -> Path:
    """The Python that can import the real musubi-tuner."""
    python = _configured("musubi_python", "KOHYA_RUNNER_MUSUBI_PYTHON")
    if python is None or not python.is_file():
        pytest.skip("NO TRAINER PYTHON: these engine tests need musubi-tuner's (KOHYA_RUNNER_MUSUBI_PYTHON)")
    return python


@pytest.fixture(scope="session")
def diffusers_examples() -> Path:
    """The checkout of diffusers with its InstructPix2Pix examples."""
    root = _configured("diffusers", "KOHYA_RUNNER_DIFFUSERS")
    vendored = Path(__file__).parents[2] / "vendor" / "diffusers"
    root = root or (vendored if (vendored / "examples").is_dir() else None)
    if root is None or not (root / "examples" / "instruct_pix2pix").is_dir():
        pytest.skip("NO TRAINER: these engine tests need a diffusers checkout (KOHYA_RUNNER_DIFFUSERS)")
    return root


@pytest.fixture(scope="session")
def diffusers_python() -> Path:
    """The Python that can run diffusers' examples."""
    python = _configured("diffusers_python", "KOHYA_RUNNER_DIFFUSERS_PYTHON")
    if python is None or not python.is_file():
        pytest.skip("NO TRAINER PYTHON: these engine tests need diffusers' (KOHYA_RUNNER_DIFFUSERS_PYTHON)")
    return python
