from __future__ import annotations

import hashlib
import os
import struct

import pytest
from safetensors_files import lora, with_header

from kohya_runner.artefact.file_hash import sha256
from kohya_runner.artefact.lora import inspect, judge, mark, module_of
from kohya_runner.artefact.safetensors_header import ExpectedTensor, HeaderError, read_header

TENSOR = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}


def test_a_lora_is_counted_by_its_modules(odd_path):
    found = inspect(lora(odd_path / "it's a.safetensors", metadata={"ss_epoch": "3"}))
    assert (found.modules, found.tensors, found.dtypes) == (2, 6, ("F16",))
    assert (found.complete, found.practice, found.metadata) == (True, False, {"ss_epoch": "3"})


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("lora_unet_a_b.lora_down.weight", "lora_unet_a_b"),
        ("lora_unet_a_b.alpha", "lora_unet_a_b"),
        ("lora_unet_a_b.hada_w1_a", "lora_unet_a_b"),
        ("lora_unet_a_b.lokr_w2", "lora_unet_a_b"),
        ("lora_unet_a_b.dora_scale", "lora_unet_a_b"),
        ("transformer.blocks.0.attn.to_q.lora_A.weight", "transformer.blocks.0.attn.to_q"),
        ("model.diffusion_model.out.2.weight", "model.diffusion_model.out.2"),
        ("emb_params", "emb_params"),
    ],
)
def test_the_module_of_a_tensor_is_what_stands_before_its_part(name, module):
    assert module_of(name) == module


def test_a_cut_file_says_how_much_is_there(tmp_path):
    path = lora(tmp_path / "a.safetensors")
    size = path.stat().st_size
    os.truncate(path, size - 1)
    assert inspect(path).problem == f"is cut: {size - 1:,} of {size:,} bytes"


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    assert inspect(tmp_path / "a.safetensors").problem == "does not exist"


def test_bytes_after_the_end_are_a_problem(tmp_path):
    path = lora(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes() + b"xx")
    assert inspect(path).problem == "has 2 bytes too many"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"{", "no safetensors header"),
        (b"[1]", "not an object"),
        (b"\xff\xff\xff", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        ({"a": 3}, "no tensor"),
        ({"a": {**TENSOR, "shape": [-1]}}, "without type, shape or place"),
        ({"a": {**TENSOR, "shape": [True, 2]}}, "without type, shape or place"),
        ({"a": {**TENSOR, "data_offsets": [0]}}, "without type, shape or place"),
        ({"a": {**TENSOR, "data_offsets": [8, 0]}}, "does not fit its shape"),
        ({"a": {**TENSOR, "data_offsets": [0, 1 << 60]}}, "without type, shape or place"),
        ({"a": {**TENSOR, "shape": [2, 3]}}, "does not fit its shape"),
        ({"a": TENSOR, "b": {**TENSOR, "data_offsets": [4, 12]}}, "a gap or an overlap"),
        ({"a": {**TENSOR, "data_offsets": [8, 16]}}, "a gap or an overlap"),
        ({"__metadata__": {"a": 1}}, "metadata that is not text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_header_is_named(tmp_path, header, problem):
    assert problem in inspect(with_header(tmp_path / "a.safetensors", header, bytes(8))).problem


@pytest.mark.parametrize("length", [0, 1, 1 << 40, (1 << 64) - 1], ids=str)
def test_a_length_that_cannot_be_is_not_believed(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(HeaderError, match="no safetensors header"):
        read_header(path)


def test_a_header_longer_than_the_file_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 5000) + b"{}")
    with pytest.raises(HeaderError, match="cut inside its header"):
        read_header(path)


def test_the_hash_is_of_the_whole_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_new_whole_file_of_the_right_modules_is_a_result(tmp_path):
    assert judge(lora(tmp_path / "a.safetensors"), "", 2) == ""


@pytest.mark.parametrize(
    ("change", "modules", "problem"),
    [
        (lambda path: path.unlink(), 2, "a.safetensors was not written"),
        (lambda path: os.truncate(path, 300), 2, "a.safetensors is cut"),
        (lambda path: path.write_bytes(b"version https://git-lfs"), 2, "a.safetensors has no safetensors header"),
        (lambda path: path.touch(), 264, "a.safetensors contains 2 modules, the trainer made 264"),
        (lambda path: lora(path, metadata={"practice": "yes"}), 2, "a.safetensors is a practice file"),
    ],
    ids=["missing", "cut", "no safetensors", "modules", "practice"],
)
def test_anything_else_is_none(tmp_path, change, modules, problem):
    path = lora(tmp_path / "a.safetensors")
    change(path)
    assert judge(path, "", modules).startswith(problem)


def test_a_file_that_lay_there_before_is_no_result_whatever_its_date(tmp_path):
    path = lora(tmp_path / "a.safetensors")
    os.utime(path, (1, 1))
    earlier = mark(path.stat())
    assert judge(path, earlier, 2) == "a.safetensors is older than this run"
    assert judge(path, "another", 2) == ""


def test_a_practice_file_is_a_result_of_a_practice_run(tmp_path):
    path = lora(tmp_path / "a.safetensors", metadata={"practice": "yes"})
    assert judge(path, "", None, practice=True) == ""


def test_a_file_of_another_kind_is_no_result(tmp_path):
    found = lora(tmp_path / "a.safetensors")
    problem = judge(found, "", None, holds=ExpectedTensor("model.diffusion_model."))
    assert (
        problem == "a.safetensors is not a checkpoint of this method: it contains no tensor model.diffusion_model...."
    )
    assert judge(found, "", None, holds=ExpectedTensor("lora_unet_")) == ""
