from __future__ import annotations

import json
import re

import pytest

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.record.process_identity import ProcessId
from kohya_runner.record.record import Record, RecordError, SavedCheckpoint, read, write
from kohya_runner.text import masked

RECORD = Record(
    run_id="001",
    name="my cat",
    argv=("python", "it's", ""),
    cwd="/a b",
    final="my cat.safetensors",
    recipe={"args": {"learning_rate": 1e-4, "seed": 0}},
    checkpoints=(SavedCheckpoint(file="my cat.safetensors", bytes=3, complete=True),),
    runner=ProcessId(pid=1, started=2, boot_id="x"),
)


def test_a_record_comes_back_as_it_was_written(odd_path):
    write(odd_path, RECORD)
    assert read(odd_path) == RECORD
    assert read(odd_path / "record.json") == RECORD


def test_a_changed_record_leaves_the_first_as_it_was():
    assert RECORD.changed(state="running").state == "running"
    assert RECORD.state == "starting"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        (json.dumps({**RECORD.model_dump(mode="json"), "version": 2}), "version: "),
        (json.dumps({**RECORD.model_dump(mode="json"), "state": "fine"}), "state: "),
        (json.dumps({**RECORD.model_dump(mode="json"), "steps_seen": "3"}), "steps_seen: "),
    ],
    ids=["cut", "list", "version", "state", "type"],
)
def test_a_broken_record_is_named_with_its_file(odd_path, text, problem):
    file = odd_path / "record.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=re.escape(f"{file}: ") + f".*{problem}"):
        read(odd_path)


def test_a_missing_record_is_named(odd_path):
    with pytest.raises(RecordError, match="No such file"):
        read(odd_path)


def test_keys_of_a_later_version_are_passed_over(odd_path):
    (odd_path / "record.json").write_text(json.dumps({**RECORD.model_dump(mode="json"), "later": 1}), encoding="utf-8")
    assert read(odd_path) == RECORD


def test_secrets_are_blotted_out_and_nothing_else():
    env = {"HF_TOKEN": "hf_x", "WANDB_API_KEY": "x", "HF_HOME": "/a", "TOKENIZERS_PARALLELISM": "false"}
    assert masked(env)["HF_TOKEN"] == masked(env)["WANDB_API_KEY"] == "***"
    assert masked(env)["HF_HOME"] == "/a"


@pytest.mark.parametrize("text", ["", "lora_unet_", "conv_in.weight:8"])
def test_the_expected_tensor_is_a_text_in_the_file(odd_path, text):
    write(odd_path, RECORD.changed(holds=ExpectedTensor.read(text)))
    assert f'"holds": "{text}"' in (odd_path / "record.json").read_text(encoding="utf-8")
    found = read(odd_path).holds
    assert (str(found) if found else "") == text
    assert found is None or found.channels == (8 if ":" in text else 0)


def test_channels_that_are_no_number_are_a_fault_of_the_file(odd_path):
    write(odd_path, RECORD.changed(holds=ExpectedTensor("conv_in", 8)))
    path = odd_path / "record.json"
    path.write_text(path.read_text(encoding="utf-8").replace("conv_in:8", "conv_in:x"), encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json: holds"):
        read(odd_path)
