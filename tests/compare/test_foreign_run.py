"""A run folder of a stranger is compared with this machine's own trainer, and nothing that it names is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.compare.settings import SweepOptions
from kohya_runner.compare.subject import Named, of_run, without_harm
from kohya_runner.compare.sweep import compare
from kohya_runner.compare.training_data import captions_of
from kohya_runner.errors import PreflightError, UsageError


@pytest.fixture
def forge(run_dir: Path):
    """Change the record as its owner could have."""

    def change(**values):
        file = run_dir / "record.json"
        kept = json.loads(file.read_text(encoding="utf-8"))
        kept["argv"] += values.pop("argv", [])
        file.write_text(json.dumps(kept | values), encoding="utf-8")

    return change


def swept(run_dir: Path, *trust: str):
    return compare(Named(targets=(str(run_dir),), trust=trust), SweepOptions(prompts=("a cat",)))


def test_the_python_of_a_record_is_not_run(run_dir, forge, odd_path):
    canary, python = odd_path / "canary", odd_path / "python"
    python.write_text('#!/bin/sh\ntouch "$(dirname "$0")/canary"\n', encoding="utf-8")
    python.chmod(0o755)
    forge(recipe={"launch": {"python": {"value": str(python), "source": "x"}}, **_recipe(run_dir)},
          trainer={"path": str(odd_path), "commit": "", "python": str(python), "packages": {}})  # fmt: skip
    assert swept(run_dir).folder.is_dir()
    assert not canary.exists()


def _recipe(run_dir):
    return json.loads((run_dir / "record.json").read_text(encoding="utf-8"))["recipe"]


@pytest.mark.parametrize(
    ("token", "key"), [("--network_module=evil.module", "args.network_module"), ("--vae=/x/vae.pt", "components.vae")]
)
def test_a_module_or_a_pickle_of_a_record_is_refused(run_dir, forge, token, key):
    forge(argv=[token])
    with pytest.raises(PreflightError) as fault:
        swept(run_dir)
    assert f"--trust {key}" in fault.value.findings[0].hint
    with pytest.raises(UsageError):
        swept(run_dir, "nonsense")


def test_paths_of_a_record_outside_its_workspace_are_not_read(run_dir, forge, odd_path):
    secret = odd_path / "home" / "1_secret"
    secret.mkdir(parents=True)
    (secret / "a.txt").write_text("hf_secretOfMine", encoding="utf-8")
    (secret / "a.png").write_bytes(b"x")
    forge(argv=[f"--train_data_dir={secret.parent}", "--caption_extension=.txt"])
    subject = without_harm(of_run(run_dir), ())
    assert captions_of(subject.base) == ()
    assert captions_of(of_run(run_dir).base) == ("hf_secretOfMine",)
