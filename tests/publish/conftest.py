"""A run that was compared, and a Hub that it can be published to."""

from __future__ import annotations

import hashlib
import json
import sys
from types import SimpleNamespace

import pytest
import sweep_trainer
from click.testing import CliRunner
from local_hub import TOKEN

from kohya_runner.commands.cli import main
from kohya_runner.record import record as records

CAPTIONS = {
    "ss_tag_frequency": json.dumps({"10_my secret": {"a shy cat": 7}}),
    "ss_dataset_dirs": '{"10_my secret": {}}',
}


@pytest.fixture
def run_dir(odd_path, monkeypatch):
    """Three epochs of a real-looking run; its record knows each file."""
    checkout = sweep_trainer.painting_checkout(odd_path / "sd scripts")
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(checkout))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(odd_path / "no config"))
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "work space"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    run = sweep_trainer.trained_run(odd_path / "work space", learning_rate="1e-4", network_dim="2", secret="/home/me/x")
    base = {"ss_sd_model_name": "/home/me/models/base.safetensors", "sshs_legacy_hash": "12345678", **CAPTIONS}
    kept = []
    for number, name in enumerate(["my cat-000001.safetensors", "my cat-000002.safetensors", "my cat.safetensors"], 1):
        path = sweep_trainer.lora_file(run / "output" / name, number, ss_epoch=str(number), **base)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        kept.append(
            records.SavedCheckpoint(
                file=name, bytes=path.stat().st_size, complete=True, epoch=number, sha256=digest, checked=True
            )
        )
    record = records.read(run)
    stated = {**record.recipe, "model": {"value": "org/base", "source": "x.yaml:3:8"}}
    dataset = {
        "images": 12, "captions": 11, "buckets": [{"width": 64, "height": 48, "images": 12}],
        "folders": [{"name": "10_my secret", "images": 12, "repeats": 10, "regularization": False}],
    }  # fmt: skip
    records.write(run, record.changed(
        checkpoints=tuple(kept), recipe=stated, dataset=dataset, steps_seen=40, steps_planned=40, epochs_seen=3,
        timings=records.Timings(started=1000.0, ended=8200.0), gpus=({"name": "NVIDIA H200"},),
    ))  # fmt: skip
    return run


@pytest.fixture
def compared(run_dir):
    assert CliRunner().invoke(main, ["compare", str(run_dir)]).exit_code == 0
    return run_dir


@pytest.fixture
def mine(hub, make_repo, monkeypatch):
    """The Hub as one sees it who has a token with write access; nothing waits between two tries."""
    make_repo("org/base", card={"license": "openrail++"})
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)  # read when it is imported
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    import huggingface_hub.utils._http as client

    monkeypatch.setattr(client, "time", SimpleNamespace(**{**vars(client.time), "sleep": lambda _: None}))
    return hub


@pytest.fixture
def publish():
    def publish(*words):
        return CliRunner().invoke(main, ["publish", *map(str, words)])

    return publish
