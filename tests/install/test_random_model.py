from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from kohya_runner.errors import TrainerError
from kohya_runner.install.random_model import ensure_random_model, random_model_paths
from kohya_runner.install.random_weights_worker import TOKENIZERS
from kohya_runner.workspace import Workspace

WRITES = """\
#!/usr/bin/env python3
import json, pathlib, sys
_, _, _, _, family, folder, name = sys.argv
header = json.dumps({"w": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
folder = pathlib.Path(folder)
(folder / name).write_bytes(len(header).to_bytes(8, "little") + header + b"12"[:CUT])
for repository in TOKENIZERS:
    (folder / "tokenizers" / repository).mkdir(parents=True)
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / "tokenizers" / repository / file).write_text("{}")
calls = pathlib.Path(__file__).with_name("calls")
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
"""


def trainer(folder: Path, *, family: str = "sd15", cut: int = 2) -> Path:
    """A program that writes a tiny model where the worker would write a big one."""
    text = WRITES.replace("CUT", str(cut)).replace("in TOKENIZERS", f"in {json.dumps(TOKENIZERS[family])}")
    return program(folder / "python", text)


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def ensure(folder: Path, python: Path, family: str = "sd15"):
    return ensure_random_model(family, Workspace(folder / "work space"), python=python, checkout=folder)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "work space" / "models").iterdir())


def test_the_paths_are_known_without_writing_anything(odd_path):
    model = random_model_paths("sdxl", odd_path)
    assert model.checkpoint == odd_path / "random-sdxl" / "random-sdxl.safetensors"
    assert model.tokenizers == odd_path / "random-sdxl" / "tokenizers"
    assert not model.exists()


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_model_lies_where_the_plan_said(odd_path, family):
    model = ensure(odd_path, trainer(odd_path, family=family), family)
    assert model == random_model_paths(family, odd_path / "work space" / "models")
    assert model.exists()
    assert left(odd_path) == [f"random-{family}"]


def test_it_is_written_only_once(odd_path):
    python = trainer(odd_path)
    ensure(odd_path, python)
    ensure(odd_path, python)
    assert (odd_path / "calls").read_text() == "x"


def test_a_truncated_checkpoint_is_written_again(odd_path):
    python = trainer(odd_path)
    ensure(odd_path, python).checkpoint.write_bytes(b"\x08")
    assert ensure(odd_path, python).exists()


def test_a_lost_tokenizer_file_is_written_again(odd_path):
    python = trainer(odd_path)
    vocabulary = ensure(odd_path, python).tokenizers / TOKENIZERS["sd15"][0] / "vocab.json"
    vocabulary.unlink()
    ensure(odd_path, python)
    assert vocabulary.is_file()


def test_a_checkpoint_that_is_too_short_is_never_put_in_place(odd_path):
    with pytest.raises(TrainerError, match="is cut"):
        ensure(odd_path, trainer(odd_path, cut=1))
    assert left(odd_path) == []


def test_a_trainer_that_fails_is_one_line(odd_path):
    python = program(odd_path / "python", "#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n")
    with pytest.raises(TrainerError, match=r"could not be written \(exit code 1: No module named torch\)"):
        ensure(odd_path, python)
    assert left(odd_path) == []


def test_what_a_killed_attempt_left_is_swept_and_a_fresh_one_is_not(odd_path):
    models = odd_path / "work space" / "models"
    for name, age in ((".random-sd15.old", 36_000), (".random-sd15.new", 0)):
        (models / name).mkdir(parents=True)
        os.utime(models / name, (time.time() - age,) * 2)
    ensure(odd_path, trainer(odd_path))
    assert left(odd_path) == [".random-sd15.new", "random-sd15"]
