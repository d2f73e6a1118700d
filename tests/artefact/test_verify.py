from __future__ import annotations

import json
import os

import click.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from number_files import numbers_file, trained

from kohya_runner.artefact.verify import LONGEST, verified, verify
from kohya_runner.commands.cli import main
from kohya_runner.errors import UsageError

TRAINING = {
    "ss_output_name": "my cat",
    "ss_epoch": "3",
    "ss_learning_rate": "0.0001",
    "ss_unet_lr": "None",
    "ss_base_model_version": "sd_v1",
    "ss_dataset_dirs": json.dumps({"10_cat": {"n_repeats": 10, "img_count": 20}}),
}


def run(*args):
    done = click.testing.CliRunner().invoke(main, ["verify", *map(str, args)])
    return done.exit_code, done.output


def test_a_file_is_described_by_its_header_and_metadata(odd_path):
    found = verified(trained(odd_path / "it's a.safetensors", metadata=TRAINING))
    assert (found.ok, found.what, found.family, found.modules) == (True, "a LoRA", "sd15", 2)
    assert (found.ranks, found.dtype, len(found.sha256)) == ((3,), "F16", 64)
    assert found.training == {
        "name": "my cat", "epoch": "3", "learning rate": "0.0001", "base version": "sd_v1",
        "datasets": "10_cat (20 images)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: trained(path, nan=True), "contains NaN"),
        (lambda path: trained(path, zero=True), "is untrained"),
        (lambda path: trained(path, metadata={"practice": "yes"}), "is a practice file"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com"), "no safetensors header"),
        (lambda path: path.write_bytes(trained(path).read_bytes()[:-1]), "is cut"),
        (lambda path: path.touch(), "no safetensors header"),
    ],
    ids=["nan", "zero", "practice", "lfs", "cut", "empty"],
)
def test_what_is_wrong_is_said_and_ends_with_10(tmp_path, make, problem):
    path = tmp_path / "a.safetensors"
    make(path)
    (found,) = verify([path], lambda _: None)
    assert problem in " ".join(found.problems)
    code, out = run(path)
    assert code == 10
    assert f"a.safetensors {found.problems[0]}" in out


def test_one_bad_file_among_good_ones_decides(tmp_path):
    trained(tmp_path / "good.safetensors")
    trained(tmp_path / "bad.safetensors", nan=True)
    assert run(tmp_path / "good.safetensors")[0] == 0
    code, out = run(tmp_path, "--json")
    value = json.loads(out)
    assert (code, value["ok"]) == (10, False)
    assert [(file["file"].rpartition("/")[2], file["ok"]) for file in value["files"]] == [
        ("bad.safetensors", False),
        ("good.safetensors", True),
    ]


def test_what_is_not_there_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="not there"):
        verify([tmp_path / "no.safetensors"], lambda _: None)
    with pytest.raises(UsageError, match="no safetensors files"):
        verify([tmp_path], lambda _: None)


def test_modules_that_were_not_trained_are_a_note(tmp_path):
    tensors = {"a.lora_up.weight": [0.0], "b.lora_up.weight": [1.0]}
    found = verified(numbers_file(tmp_path / "a.safetensors", tensors))
    assert found.ok
    assert found.notes == ("1 of 2 up weights are zero: these modules were not trained",)


def test_a_file_of_torch_is_never_loaded(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    found = verified(path)
    assert not found.ok
    assert found.problems == ("was not opened: a pickle can run code",)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    assert verified(tmp_path / "a.safetensors").problems == ("is a named pipe, not a file",)


def test_control_characters_and_long_texts_of_strangers_do_not_reach_the_terminal(tmp_path):
    said = {
        "ss_output_name": "\x1b[31mred\x1b]0;x\x07",
        "ss_training_comment": "x" * 10_000,
        "ss_dataset_dirs": "[" * 9,
    }
    path = trained(tmp_path / "a.safetensors", metadata=said)
    code, out = run(path)
    assert code == 0
    assert "\x1b" not in out
    assert "\x07" not in out
    assert out.count("x") < LONGEST + 100


def test_half_a_character_in_a_name_can_be_shown_and_written(tmp_path):
    path = numbers_file(tmp_path / "a.safetensors", {"\ud800.lora_up.weight": [float("nan")]})
    code, out = run(path, "--json")
    assert code == 10
    json.loads(out)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
ROW = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "F32", "BF16", "F8_E4M3", "F4", "C64", "?"]) | JSON,
        "shape": st.lists(st.integers(-1, 9), max_size=3) | JSON,
        "data_offsets": st.tuples(st.integers(0, 64), st.integers(0, 64)) | JSON,
    }
)
NAMES = st.sampled_from(["a.lora_up.weight", "a.lora_down.weight", "a.alpha", "emb_params"]) | st.text(max_size=6)
HEADERS = st.dictionaries(NAMES, ROW | JSON, max_size=4) | JSON


@st.composite
def hostile(draw):
    """The bytes of a file, most of it nearly right."""
    header = draw(HEADERS)
    if isinstance(header, dict):
        header = {**header, "__metadata__": draw(JSON)}
    text = json.dumps(header).encode()
    length = draw(st.none() | st.binary(max_size=8))
    whole = (len(text).to_bytes(8, "little") if length is None else length) + text + draw(st.binary(max_size=64))
    return whole[: len(whole) - draw(st.integers(0, 8))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=hostile())
def test_no_header_of_a_stranger_brings_it_down(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    found = verified(path)
    assert found.ok or all(found.problems)
    json.dumps(found.as_json(), ensure_ascii=False).encode()
