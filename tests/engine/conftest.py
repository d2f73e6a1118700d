"""Where the real trainer is, or a loud reason why these tests do not run."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kohya-runner" / "config.yaml"


def _configured(key: str, variable: str) -> Path | None:
    if os.environ.get(variable):
        return Path(os.environ[variable])
    if CONFIG.is_file():
        value = (YAML(typ="safe", pure=True).load(CONFIG.read_text(encoding="utf-8")) or {}).get(key)
        return Path(value) if value else None
    return None


def _checkout(setting: str, folder: str, mark: str) -> Path:
    """A trainer's sources: as configured, else the submodule."""
    root = _configured(setting, f"KOHYA_RUNNER_{setting.upper()}")
    vendored = Path(__file__).parents[2] / "vendor" / folder
    root = root or (vendored if (vendored / mark).exists() else None)
    if root is None or not (root / mark).exists():
        pytest.skip(f"NO TRAINER: these engine tests need a {folder} checkout (see: kohya-runner setup)")
    return root


def _python(setting: str, whose: str) -> Path:
    """The Python that can import a trainer."""
    python = _configured(setting, f"KOHYA_RUNNER_{setting.upper()}")
    if python is None or not python.is_file():
        pytest.skip(f"NO TRAINER PYTHON: these engine tests need {whose}'s (KOHYA_RUNNER_{setting.upper()})")
    return python


@pytest.fixture(scope="module", autouse=True)
def short_start() -> Iterator[None]:
    """A trainer's Python starts in half the time, unless a test has a search path of its own for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).with_name("start")), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def sd_scripts() -> Path:
    """The checkout of the real sd-scripts."""
    return _checkout("sd_scripts", "sd-scripts", "train_network.py")


OLDER = "48d368fa557731ad0488c07304dfeba8c07910eb"
"""What was pinned before (v0.10.1)."""
NOT_NEEDED = (":!bitsandbytes_windows", ":!configs/qwen3_06b/tokenizer.json")


@pytest.fixture(scope="session")
def other_sd_scripts(sd_scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another commit than the pinned one: a checkout that is named, or the older one from the history of the first."""
    named = os.environ.get("KOHYA_RUNNER_OTHER_SD_SCRIPTS")
    if named and (Path(named) / "train_network.py").is_file():
        return Path(named)
    folder = tmp_path_factory.mktemp("older") / "sd-scripts"
    archive = folder.with_suffix(".tar")
    command = ("git", "-C", str(sd_scripts), "archive", "-o", str(archive), OLDER, "--", ".", *NOT_NEEDED)
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("NO OTHER TRAINER: name another commit's checkout with KOHYA_RUNNER_OTHER_SD_SCRIPTS")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def trainer_python() -> Path:
    """The Python that can import the real sd-scripts."""
    return _python("python", "sd-scripts")


@pytest.fixture(scope="session")
def musubi_tuner() -> Path:
    """The checkout of the real musubi-tuner."""
    return _checkout("musubi_tuner", "musubi-tuner", "src/musubi_tuner")


@pytest.fixture(scope="session")
def musubi_python() -> Path:
    """The Python that can import the real musubi-tuner."""
    return _python("musubi_python", "musubi-tuner")


@pytest.fixture(scope="session")
def diffusers_examples() -> Path:
    """The checkout of diffusers with its InstructPix2Pix examples."""
    return _checkout("diffusers", "diffusers", "examples/instruct_pix2pix")


@pytest.fixture(scope="session")
def diffusers_python() -> Path:
    """The Python that can run diffusers' examples."""
    return _python("diffusers_python", "diffusers")
