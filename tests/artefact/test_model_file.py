from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.artefact.model_file import LocalModel, model_findings


def _safetensors(data: int = 8) -> bytes:
    header = json.dumps(
        {"__metadata__": {"a": "b"}, "w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * data


@pytest.fixture
def blob(odd_path):
    """A Hub cache's blob, with a snapshot's link to it."""
    (odd_path / "blobs").mkdir()
    (odd_path / "snapshots").mkdir()
    (odd_path / "blobs" / "abc123").write_bytes(_safetensors())
    (odd_path / "snapshots" / "m.safetensors").symlink_to("../blobs/abc123")
    return odd_path


def _codes(path: Path, family: str = "sd15", what: str = "model") -> list[str]:
    return [finding.code for finding in model_findings(LocalModel(path, what, family))]


def _message(path: Path, family: str = "sd15") -> str:
    return str(model_findings(LocalModel(path, "model", family, "r.yaml:3:8"))[0])


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_whole_file_is_fine(odd_path, family):
    (odd_path / "m.safetensors").write_bytes(_safetensors())
    assert _codes(odd_path / "m.safetensors", family) == []


def test_a_path_that_is_not_there_is_missing_with_its_place(odd_path):
    assert _codes(odd_path / "x.safetensors") == ["model.missing"]
    assert _message(odd_path / "x.safetensors").startswith("r.yaml:3:8: ")


def test_a_dangling_link_says_where_it_points(odd_path):
    (odd_path / "x.safetensors").symlink_to("gone")
    assert "link to gone" in _message(odd_path / "x.safetensors")


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_a_link_into_a_hub_cache_breaks_the_trainer(blob, family):
    assert _codes(blob / "snapshots" / "m.safetensors", family) == ["model.symlink"]


def test_flux_opens_links_as_any_file(blob):
    assert _codes(blob / "snapshots" / "m.safetensors", "flux") == []


def test_a_component_may_be_a_link(blob):
    assert _codes(blob / "snapshots" / "m.safetensors", "sd15", "vae") == []


def test_sd15_follows_a_link_that_keeps_the_extension(odd_path):
    (odd_path / "real.safetensors").write_bytes(_safetensors())
    (odd_path / "m.safetensors").symlink_to("real.safetensors")
    assert _codes(odd_path / "m.safetensors", "sd15") == []


def test_sdxl_reads_a_relative_link_from_the_wrong_folder(odd_path):
    (odd_path / "real.safetensors").write_bytes(_safetensors())
    (odd_path / "m.safetensors").symlink_to("real.safetensors")
    assert _codes(odd_path / "m.safetensors", "sdxl") == ["model.symlink"]


def test_sdxl_follows_an_absolute_link(odd_path):
    (odd_path / "real.safetensors").write_bytes(_safetensors())
    (odd_path / "m.safetensors").symlink_to(odd_path / "real.safetensors")
    assert _codes(odd_path / "m.safetensors", "sdxl") == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS", id="LFS pointer"),
        pytest.param(b"\n<!DOCTYPE html><html>", "web page", id="a web page"),
        pytest.param(_safetensors(3), "is cut", id="truncated data"),
        pytest.param(_safetensors()[:20], "truncated", id="truncated header"),
        pytest.param(_safetensors(9), "too many", id="trailing data"),
        pytest.param((5).to_bytes(8, "little") + b"{bad}" + b"0" * 9, "broken", id="broken header"),
        pytest.param(b"abc", "header", id="three bytes"),
        pytest.param(b"PK\x03\x04" + b"0" * 99, "header", id="a pickle under the wrong name"),
    ],
)
def test_what_is_no_safetensors_file_is_named(odd_path, content, says):
    (odd_path / "m.safetensors").write_bytes(content)
    assert says in _message(odd_path / "m.safetensors")
    assert _codes(odd_path / "m.safetensors") == ["model.format"]


def test_a_pickle_that_is_one_is_what_its_name_says(odd_path):
    (odd_path / "m.ckpt").write_bytes(b"PK\x03\x04" + b"0" * 99)
    found = model_findings(LocalModel(odd_path / "m.ckpt"))
    assert found == ()


def test_safetensors_under_another_name_are_loaded_as_a_pickle(odd_path):
    (odd_path / "m.ckpt").write_bytes(_safetensors())
    assert _codes(odd_path / "m.ckpt", "sdxl") == ["model.format"]
    assert _codes(odd_path / "m.ckpt", "flux") == []


def test_a_text_file_is_no_checkpoint(odd_path):
    (odd_path / "m.ckpt").write_bytes(b"hello " * 50)
    assert _codes(odd_path / "m.ckpt") == ["model.format"]


def test_a_diffusers_folder_is_fine_for_sd_and_wrong_for_flux(odd_path):
    (odd_path / "model_index.json").write_text("{}")
    assert _codes(odd_path, "sdxl") == []
    assert _codes(odd_path, "flux") == ["model.format"]


def test_a_folder_of_files_names_the_one_to_write(odd_path):
    (odd_path / "m.safetensors").write_bytes(_safetensors())
    assert _message(odd_path).endswith(f"write {odd_path / 'm.safetensors'}")
