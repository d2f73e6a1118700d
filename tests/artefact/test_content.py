from __future__ import annotations

import hashlib

import pytest
from number_files import numbers_file, trained

from kohya_runner.artefact.content import PIECE, examine, examining
from kohya_runner.artefact.safetensors_header import HeaderError


def test_a_trained_file_has_no_problem_and_its_own_hash(odd_path):
    path = trained(odd_path / "it's a.safetensors")
    found = examine(path)
    assert (found.problem, found.tensors, found.ups, found.zero) == ("", 6, 2, 0)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_nan_is_named_with_its_tensor(tmp_path):
    found = examine(trained(tmp_path / "a.safetensors", nan=True))
    assert (found.nonfinite, found.first) == (1, "lora_te_b.lora_down.weight")
    assert found.problem == "contains NaN or infinity in 1 of 6 tensors, first in lora_te_b.lora_down.weight"


def test_up_weights_that_are_all_zero_hold_no_training(tmp_path):
    found = examine(trained(tmp_path / "a.safetensors", zero=True))
    assert found.untrained
    assert "all its up weights are zero" in found.problem


def test_one_trained_module_is_a_training(tmp_path):
    tensors = {"a.lora_up.weight": [0.0, 0.0], "b.lora_up.weight": [0.0, 1.0]}
    found = examine(numbers_file(tmp_path / "a.safetensors", tensors))
    assert (found.untrained, found.zero, found.ups) == (False, 1, 2)


@pytest.mark.parametrize("name", ["a.lora_B.weight", "a.lora_B.default.weight", "a.oft_blocks", "a.hada_w2_a"])
def test_other_kinds_of_networks_begin_as_zeros_too(tmp_path, name):
    assert examine(numbers_file(tmp_path / "a.safetensors", {name: [0.0]})).untrained


def test_a_whole_model_has_no_weights_that_begin_as_zeros(tmp_path):
    assert not examine(numbers_file(tmp_path / "a.safetensors", {"model.out.2.weight": [0.0]})).untrained


def test_a_tensor_of_several_pieces_is_read_to_its_end(tmp_path):
    tensors = {"a.weight": bytes(PIECE) + b"\x3c" * PIECE + b"\xff\xff", "b.lora_up.weight": bytes(PIECE) + b"\0\x3c"}
    path = numbers_file(tmp_path / "a.safetensors", tensors)
    assert [step for step in examining(path) if step is None] == [None] * 5
    found = examine(path)
    assert (found.nonfinite, found.untrained) == (1, False)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_files_are_hashed_alone(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"\xff" * 10)
    found = examine(tmp_path / "a.ckpt")
    assert (found.problem, found.sha256) == ("", hashlib.sha256(b"\xff" * 10).hexdigest())


def test_a_file_that_became_shorter_is_a_fault(tmp_path):
    path = trained(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(OSError, match="shorter"):
        examine(path)


def test_a_file_without_a_header_is_a_fault(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"<html>")
    with pytest.raises(HeaderError):
        examine(tmp_path / "a.safetensors")
