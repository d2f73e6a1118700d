from __future__ import annotations

import os
import time
import zipfile

from safetensors_files import lora

from kohya_runner.run.checkpoints import being_written


def now():
    return time.time()


def test_a_whole_checkpoint_is_not_being_written(odd_path):
    lora(odd_path / "a.safetensors")
    assert being_written(odd_path, now()) is None


def test_one_that_is_shorter_than_it_declares_is(odd_path):
    path = lora(odd_path / "a.safetensors")
    os.truncate(path, path.stat().st_size - 1)
    assert being_written(odd_path, now()) == path


def test_one_without_a_header_is_while_it_is_fresh(odd_path):
    path = odd_path / "a.safetensors"
    path.touch()
    assert being_written(odd_path, now()) == path
    assert being_written(odd_path, now() + 60) is None


def test_a_state_without_its_random_states_is_being_written(odd_path):
    state = odd_path / "a-000001-state"
    state.mkdir()
    assert being_written(odd_path, now()) == state
    (state / "random_states_0.pkl").touch()
    assert being_written(odd_path, now()) is None


def test_a_zip_without_its_end_is_being_written(odd_path):
    path = odd_path / "a.ckpt"
    path.write_bytes(b"PK\x03\x04 begun")
    assert being_written(odd_path, now()) == path
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", "x")
    assert being_written(odd_path, now()) is None


def test_a_folder_that_is_not_there_holds_nothing(odd_path):
    assert being_written(odd_path / "none", now()) is None
