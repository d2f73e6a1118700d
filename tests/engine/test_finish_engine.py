"""The limit of a real run whose runner was killed: the unmodified trainer, on small random weights."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import made_models
import pytest
from real_runs import read_lora
from test_tiny_families_engine import FAMILIES, ROOT, SHRINK, draw

from kohya_runner.record.process_identity import identify

pytestmark = pytest.mark.daily

SECONDS = 45


def record(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "record.json").read_bytes())
    except OSError:
        return {}


def wait_for(condition: Any, seconds: float) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def test_a_killed_runner_takes_the_limit_not_with_it(tmp_path: Path, sd_scripts: Path, trainer_python: Path):
    models, workspace = tmp_path / "tiny models", tmp_path / "work space"
    run = workspace / "runs" / "sd15_lora" / "001"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, "sd15", models)
    draw(tmp_path / "pictures")
    limits = (
        f"--set=budget.max_hours={SECONDS / 3600}",
        "--set=args.max_train_epochs=2000",
        "--set=args.save_last_n_epochs=3",
    )
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / "sd15_lora.yaml")),
        *(f"--workspace={workspace}", "--allow=hub.offline"),
        *FAMILIES[0].choices(models, tmp_path / "pictures"), *limits,
    )  # fmt: skip
    runner = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        pid = wait_for(lambda: (record(run).get("process") or {}).get("pid") or runner.poll() is not None, 60)
        assert runner.poll() is None, runner.communicate()[1]
        trainer = identify(pid)
        runner.send_signal(signal.SIGKILL)
        runner.communicate()
        assert trainer.alive()
        wait_for(lambda: record(run).get("state") == "failed", SECONDS + 60)
        assert not trainer.alive()
    finally:
        runner.kill()
        if pid := (record(run).get("process") or {}).get("pid"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
    said = record(run)
    assert said["exit"]["stop"] == "budget.hours"
    assert said["timings"]["ended"] - said["timings"]["started"] >= SECONDS
    kept = [found for found in said["checkpoints"] if not found["removed"]]
    assert kept
    for found in kept:
        assert found["complete"]
        assert read_lora(run / "output" / found["file"]).finite
    status = subprocess.run(
        (sys.executable, "-m", "kohya_runner", "status", "--workspace", str(workspace)), env=environ, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert status.returncode == 9
    assert "budget.max_hours" in status.stdout
