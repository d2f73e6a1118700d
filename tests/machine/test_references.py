from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.errors import RecipeError
from kohya_runner.machine.downloads import HubFile, local_path, parse_ref


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://org/repo/file.safetensors", HubFile("org/repo", "file.safetensors")),
        ("hf://org/repo/a b/c.safetensors", HubFile("org/repo", "a b/c.safetensors")),
        ("hf://o/r/f.safetensors@v1.0", HubFile("o/r", "f.safetensors", "v1.0")),
        ("hf://o/r/f.safetensors@refs/pr/7", HubFile("o/r", "f.safetensors", "refs/pr/7")),
    ],
)
def test_a_reference_names_repository_file_and_revision(text, expected):
    assert parse_ref(text) == expected
    assert expected.text == text


@pytest.mark.parametrize(
    "text",
    [
        "org/repo/file.safetensors",
        "hf://org/repo",
        "hf://org/repo/",
        "hf://org",
        "hf://org/repo/../../etc/passwd",
        "hf://org/repo/a/../b",
        "hf://../repo/file",
        "hf://org/../file",
        "hf://org/repo//etc/passwd",
        "hf://org/repo/.cache/x",
        "hf://org/repo/a\\..\\b",
        "hf://org/repo/a\nb",
        "hf://org/repo/f@",
        "hf://org/repo/f@../x",
        "hf://org/repo/" + "n" * 250,
    ],
)
def test_what_is_no_file_of_a_repository_is_refused_with_its_place(text):
    with pytest.raises(RecipeError) as caught:
        parse_ref(text, "r.yaml:3:8")
    assert [(f.code, f.where) for f in caught.value.findings] == [("model.reference", "r.yaml:3:8")]


def test_the_file_lies_below_the_models_folder():
    assert local_path(parse_ref("hf://o/r/a/b.safetensors"), Path("/m x")) == Path("/m x/o/r/a/b.safetensors")


def test_revisions_do_not_share_a_folder():
    path = local_path(parse_ref("hf://o/r/b.safetensors@refs/pr/7"), Path("/m"))
    assert path == Path("/m/o/r@refs--pr--7/b.safetensors")
