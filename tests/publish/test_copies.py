from __future__ import annotations

import hashlib
import json

import pytest
from sweep_trainer import lora_file

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.errors import NoCheckpointError
from kohya_runner.publish.copies import cleaned, model_piece, piece, without_folders


def body(path):
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def written(made, folder):
    made.write(folder / made.name)
    return folder / made.name


def test_the_copy_has_the_fields_and_the_same_tensors(odd_path):
    source = lora_file(odd_path / "a b.safetensors", 7, ss_epoch="3")
    before = source.read_bytes()
    made = model_piece("c.safetensors", source, {"modelspec.title": "a 'cat' ä", "ss_epoch": "3"}, clean=False)
    copy = written(made, odd_path / "copies")
    assert body(copy) == body(source)
    assert read_header(copy).tensors == read_header(source).tensors
    assert read_header(copy).metadata == {"ss_epoch": "3", "modelspec.title": "a 'cat' ä"}
    assert (made.changed, source.read_bytes()) == (("modelspec.title",), before)
    assert int.from_bytes(copy.read_bytes()[:8], "little") % 8 == 0


def test_the_hashes_are_those_of_the_copy_before_it_is_written(odd_path):
    source = lora_file(odd_path / "a.safetensors")
    made = model_piece("a.safetensors", source, {"modelspec.title": "t"}, clean=False)
    data = written(made, odd_path / "copies").read_bytes()
    assert (made.size, made.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert made.blob == hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()  # noqa: S324 - as git


def test_a_file_with_nothing_to_change_is_the_same_byte_for_byte(odd_path):
    source = lora_file(odd_path / "a.safetensors", ss_epoch="1")
    made = model_piece("a.safetensors", source, {}, clean=True)
    assert written(made, odd_path / "copies").read_bytes() == source.read_bytes()


def test_a_source_that_changed_meanwhile_is_no_copy(odd_path):
    source = lora_file(odd_path / "a.safetensors", 1)
    made = model_piece("a.safetensors", source, {"modelspec.title": "t"}, clean=False)
    lora_file(source, 2)
    with pytest.raises(NoCheckpointError, match="not what it must be"):
        made.write(odd_path / "copies" / "a.safetensors")
    assert list((odd_path / "copies").iterdir()) == []


def test_a_large_file_is_streamed(odd_path, monkeypatch):
    monkeypatch.setattr("kohya_runner.publish.copies.CHUNK", 10)
    source = lora_file(odd_path / "a.safetensors", 5)
    made = model_piece("a.safetensors", source, {"modelspec.title": "t"}, clean=False)
    assert max(map(len, list(made.content())[1:])) == 10
    assert body(written(made, odd_path / "copies")) == body(source)


def test_cleaning_takes_captions_folders_and_paths_out_and_the_hash_that_no_longer_holds(odd_path):
    private = {"ss_tag_frequency": '{"10_x": {"a shy cat": 3}}', "ss_datasets": "[]", "ss_dataset_dirs": "{}"}
    kept = {"ss_epoch": "3", "modelspec.thumbnail": "data:image/jpeg;base64,/9j/4AAQ/x"}
    source = lora_file(
        odd_path / "a.safetensors", sshs_legacy_hash="1", sshs_model_hash="2",
        ss_sd_model_name="/home/me/base.safetensors",
        **private, **kept,
    )  # fmt: skip
    made = model_piece("a.safetensors", source, {}, clean=True)
    found = read_header(written(made, odd_path / "copies")).metadata
    assert found == {"ss_sd_model_name": "base.safetensors", "sshs_model_hash": "2", **kept}
    assert set(made.changed) == {*private, "ss_sd_model_name", "sshs_legacy_hash"}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/my pictures/a.safetensors", "a.safetensors"),
        (r"C:\Users\me\a.safetensors", "a.safetensors"),
        ("~/loras/a.pt", "a.pt"),
        (json.dumps({"vae": "/home/me/my models/v.pt", "n": 1}), '{"vae": "v.pt", "n": 1}'),
        ("AdamW(weight_decay=0.1,cache=/home/me/x)", "AdamW(weight_decay=0.1,cache=x)"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/stable-diffusion-xl-base-1.0"),
        ("stable-diffusion-v1/lora", "stable-diffusion-v1/lora"),
        ("https://github.com/kohya-ss/sd-scripts", "https://github.com/kohya-ss/sd-scripts"),
        ("1/2, 3 / 4", "1/2, 3 / 4"),
        ("1024,1024", "1024,1024"),
    ],
)
def test_only_the_last_part_of_a_path_is_left(text, left):
    assert without_folders(text) == left


def test_a_stranger_s_metadata_stays_text():
    assert cleaned({"a": "", "b": "\n/etc/passwd"}) == {"a": "", "b": "\npasswd"}


def test_text_is_a_piece_too(odd_path):
    made = piece("README.md", b"hello")
    assert (made.size, written(made, odd_path).read_bytes()) == (5, b"hello")
