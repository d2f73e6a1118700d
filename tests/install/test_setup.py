from __future__ import annotations

import os
from pathlib import Path

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.errors import TrainerError
from kohya_runner.install.checkout import find_trainer
from kohya_runner.install.setup import setup
from kohya_runner.settings import UserSettings


@pytest.fixture
def environ(odd_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(odd_path), "PIP_NO_INDEX": "1"}


def complete_python(path: Path, *, lacking: str = "") -> Path:
    """A Python that answers the probe as one with everything but ``lacking`` installed."""
    path.write_text(
        "#!/usr/bin/env python3\n"
        "import json, sys\n"
        f"packages = {{name: None if name == {lacking!r} else '1.0' for name in sys.argv[3:]}}\n"
        "print(json.dumps({'executable': sys.argv[0], 'python': '3.11.7', 'venv': True, 'packages': packages}))\n"
    )
    path.chmod(0o755)
    return path


def test_what_is_configured_is_used_and_nothing_is_made(odd_path, checkout, environ):
    python = complete_python(odd_path / "python")
    settings = UserSettings(odd_path / "config.yaml", {"sd_scripts": checkout, "python": python})
    said: list[str] = []
    trainer = setup(environ, settings, say=said.append, engine=SD_SCRIPTS)
    assert (trainer.checkout.root, trainer.python.path) == (checkout, python)
    assert [line.split(":")[0] for line in said] == ["the trainer's sources are there", "the trainer's Python is there"]
    assert not list(odd_path.rglob("trainer-*"))


def test_a_configured_python_that_lacks_something_is_named_not_changed(odd_path, checkout, environ):
    (checkout / "requirements.txt").write_text("transformers==4.54.1\n-e .\n")
    python = complete_python(odd_path / "python", lacking="transformers")
    settings = UserSettings(odd_path / "config.yaml", {"sd_scripts": checkout, "python": python})
    with pytest.raises(TrainerError, match=r"python: in .* names .* which lacks transformers$"):
        setup(environ, settings, say=str, engine=SD_SCRIPTS)


def test_the_option_reaches_the_search(odd_path, environ):
    with pytest.raises(TrainerError, match="--sd-scripts names"):
        setup(environ, UserSettings(odd_path), say=str, sd_scripts=str(odd_path / "gone"), engine=SD_SCRIPTS)


def test_looking_makes_nothing(odd_path, checkout, environ):
    found, python = find_trainer(environ, UserSettings(odd_path, {"sd_scripts": checkout}), engine=SD_SCRIPTS)
    assert found is not None
    assert found.root == checkout
    assert python is None
    assert not (odd_path / ".local").exists()
