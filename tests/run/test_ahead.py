"""What comes while the trainer is installed: models of the Hub and the dataset, without a trainer."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_hub import LocalHub

from kohya_runner.errors import PreflightError
from kohya_runner.machine.downloads import cached_files
from kohya_runner.machine.fetch import DownloadProgress, fetch_pipeline

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
PIPELINE = {
    "model_index.json": b"{}", "unet/config.json": b"{}", "vae/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"u" * 50_000, "vae/diffusion_pytorch_model.safetensors": b"v" * 20_000,
    "text_encoder/model.safetensors": b"t" * 9000, "README.md": b"not wanted", "unet/diffusion_pytorch_model.bin": b"b",
}  # fmt: skip
WANTED = {name: len(data) for name, data in PIPELINE.items() if not name.endswith((".md", ".bin"))}


@pytest.fixture
def prepare(odd_path: Path, pictures, hub: LocalHub, make_repo):
    """Runs the command on a machine without a trainer."""
    make_repo("org/base", dict(PIPELINE))
    make_repo("openai/clip-vit-large-patch14")
    cpu = ("--set=args.mixed_precision=no", "--set=args.optimizer_type=AdamW")
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"

    def run(*words: str, **environ: str):
        given = (str(ROOT / "recipes" / "sd15_lora.yaml"), f"--set={images}", "--set=model=org/base", *cpu, *words)
        argv = (sys.executable, "-m", "kohya_runner", "launch", *given, f"--workspace={odd_path / 'ws'}", "--prepare")
        environ = {"HOME": str(odd_path), "PATH": os.environ["PATH"], "HF_ENDPOINT": hub.endpoint,
                   "KOHYA_RUNNER_VOLUME_GB": "900", "KOHYA_RUNNER_HOME": str(odd_path / "home"), **environ}  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)

    return run


def test_models_and_pictures_come_without_a_trainer(prepare, odd_path):
    ended = prepare()
    assert ended.returncode == 0, ended.stderr
    assert set(WANTED) <= cached_files(odd_path / "ws" / "cache" / "huggingface" / "hub", "org/base").keys()
    assert "laid out 3 images" in ended.stderr
    assert len(list((odd_path / "ws" / "datasets").rglob("*.png"))) == 3
    assert not (odd_path / "ws" / "runs" / "sd15_lora").exists()


def test_a_second_time_nothing_is_fetched(prepare, hub):
    prepare()
    before = len(hub.bodies())
    assert prepare().returncode == 0
    assert len(hub.bodies()) == before


def test_what_the_hub_refuses_is_told_before_a_byte(prepare, hub):
    hub.repos["org/base"].gated = True
    ended = prepare(HF_TOKEN="good")
    assert ended.returncode == 4
    assert "hub.gated" in ended.stderr
    assert hub.bodies() == []


def test_practice_fetches_nothing(prepare, hub, odd_path):
    assert prepare("--practice").returncode == 0
    assert hub.bodies() == []
    assert len(list((odd_path / "ws" / "datasets").rglob("*.png"))) == 3


def test_a_file_that_arrives_damaged_is_removed_and_named(hub, make_repo, odd_path, monkeypatch):
    make_repo("org/base", dict(PIPELINE))
    monkeypatch.setattr("kohya_runner.artefact.file_hash.sha256", lambda _: hashlib.sha256(b"other").hexdigest())
    with pytest.raises(PreflightError, match=r"unet/\S+ arrived damaged; it was removed"):
        fetch_pipeline("org/base", WANTED, odd_path / "hub", reach=hub.access())
    assert cached_files(odd_path / "hub", "org/base") == {}


def test_a_hub_out_of_order_is_told_and_the_next_start_goes_on(hub, make_repo, odd_path):
    make_repo("org/base", dict(PIPELINE))
    hub.status = 503
    with pytest.raises(PreflightError):
        fetch_pipeline("org/base", WANTED, odd_path / "hub", reach=hub.access())
    hub.status = 200
    seen: list[DownloadProgress] = []
    fetch_pipeline("org/base", WANTED, odd_path / "hub", reach=hub.access(), on_progress=seen.append)
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, sum(WANTED.values()), sum(WANTED.values()))
