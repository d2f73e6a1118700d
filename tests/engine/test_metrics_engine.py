"""The metrics of real runs that went on without their terminal and lost their runner; torch's own event files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
from test_tiny_families_engine import FAMILIES, ROOT, SHRINK, draw

from kohya_runner.record.metrics_file import read
from kohya_runner.run.event_files import EventFile, Scalar, scalar_record, version_record

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

SD15 = FAMILIES[0]
ACCUMULATE = (
    "import json, sys\nfrom tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
    "a = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}); a.Reload()\n"
    "print(json.dumps({t: [(e.step, e.value) for e in a.Scalars(t)] for t in a.Tags()['scalars']}))\n"
)


def accumulated(python: Path, file: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard itself reads, the last value of each step."""
    done = subprocess.run((python, "-c", ACCUMULATE, str(file)), capture_output=True, text=True, check=True)
    return {tag: {int(step): value for step, value in rows} for tag, rows in json.loads(done.stdout).items()}


class Tiny:
    """A tiny SD 1.5 in a workspace of its own, and the command line."""

    def __init__(self, root: Path, checkout: Path, python: Path) -> None:
        self.workspace, self.models, self.pictures = root / "work space", root / "tiny models", root / "my pictures"
        self.run_dir = self.workspace / "runs" / "sd15_lora" / "001"
        self.python = python
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "KOHYA_RUNNER_SD_SCRIPTS": str(checkout),
            "KOHYA_RUNNER_PYTHON": str(python),
            "KOHYA_WORKSPACE": str(self.workspace),
        }
        self.models.mkdir()
        made_models.put(python, checkout, SD15.name, self.models)
        draw(self.pictures)
        (root / "prompts.txt").write_text("a cat --w 64 --h 64 --s 2 --d 1\n", encoding="utf-8")
        self.prompts = root / "prompts.txt"

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "kohya_runner", *args)
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300, check=False)

    def detach(self, *choices: str) -> None:
        more = [f"--set={text}" for text in ("args.log_with=tensorboard", *choices)]
        options = ("--detach", "--allow=hub.offline", *SD15.choices(self.models, self.pictures), *more)
        ended = self.run("launch", str(ROOT / "recipes" / SD15.recipe), *options)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_dir / "record.json").read_text(encoding="utf-8"))
        return found

    def wait_for_step(self, step: int) -> None:
        until = time.monotonic() + 240
        while time.monotonic() < until:
            shown = re.findall(r"steps:[^\r\n]*\| (\d+)/", (self.run_dir / "trainer.log").read_text("utf-8"))
            if shown and int(shown[-1]) >= step:
                return
            time.sleep(0.05)
        raise AssertionError((self.run_dir / "trainer.log").read_text("utf-8")[-2000:])

    def kill_runner(self) -> None:
        os.kill(self.record()["runner"]["pid"], signal.SIGKILL)
        until = time.monotonic() + 180
        while json.loads(self.run("runs", "--json").stdout)["runs"][0]["state"] != "orphaned":
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[Tiny]:
    root = tmp_path_factory.mktemp("it's tiny")
    yield Tiny(root, sd_scripts, trainer_python)
    shutil.rmtree(root)


def test_a_run_whose_runner_is_killed_twice_has_every_metric_once_and_true(tiny):
    sampling = ("args.sample_every_n_epochs=1", f"args.sample_prompts={tiny.prompts}")
    tiny.detach("args.max_train_epochs=3", "datasets.0.repeats=6", *sampling)
    for step in (2, 12):
        tiny.wait_for_step(step)
        tiny.kill_runner()
        if step == 2:
            adopter = subprocess.Popen(
                (sys.executable, "-m", "kohya_runner", "status", "--adopt"),
                env=tiny.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while tiny.record()["runner"]["pid"] != adopter.pid:
                time.sleep(0.05)
    adopter.wait()
    ended = tiny.run("watch", "--adopt", "--json")
    assert ended.returncode == 0, ended.stderr
    kept, found = tiny.record(), read(tiny.run_dir)
    assert kept["state"] == "succeeded"
    lines = [json.loads(line) for line in (tiny.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    bars = [line["step"] for line in lines if "loss" in line]
    assert bars == sorted(set(bars))
    assert bars[-1] == kept["steps_seen"] == kept["steps_planned"]
    assert [mark.epoch for mark in found.of("begins")] == [1, 2, 3]
    assert [mark.name for mark in found.of("checkpoint")] == [c["file"] for c in kept["checkpoints"]]

    (events,) = (tiny.run_dir / "logs").glob("*/network_train/events.*")
    said = accumulated(tiny.python, events)
    rates = {one.step: one for one in found.steps if one.lr}
    assert len(rates) > 3
    for step, one in rates.items():
        assert one.current == pytest.approx(said["loss/current"][step])
        assert one.lr == {name: pytest.approx(said[f"lr/{name}"][step]) for name in ("textencoder", "unet")}
    assert tiny.run("metrics", "--tensorboard", str(tiny.run_dir / "tb")).returncode == 0
    (ours,) = (tiny.run_dir / "tb").rglob("events.*")
    again = accumulated(tiny.python, ours)
    assert again["lr/unet"] == {step: pytest.approx(one.lr["unet"]) for step, one in rates.items()}
    assert set(again["loss/average"]) == {one.step for one in found.steps if one.loss is not None}

    assert tiny.run("report").returncode == 0
    page = (tiny.run_dir / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 3
    assert page.count("<svg") == 4


def test_the_real_trainer_is_stopped_after_its_save(tiny):
    tiny.detach("args.max_train_epochs=50", "datasets.0.repeats=4")
    tiny.wait_for_step(1)
    ended = tiny.run("stop", "--after-save")
    assert ended.returncode == 0, ended.stderr
    kept = tiny.record()
    assert kept["state"] == "stopped"
    assert kept["checkpoints"]
    assert all(c["complete"] and c["modules"] == kept["modules"] for c in kept["checkpoints"])
    assert kept["epochs_seen"] <= len(kept["checkpoints"]) + 1


def test_torch_and_tensorboard_agree(odd_path, trainer_python):
    """Written by torch, read by us; written by us, read by TensorBoard."""
    path, folder = odd_path / "events.out.tfevents.1.pod", odd_path / "torch"
    code = (
        "import sys\nfrom torch.utils.tensorboard import SummaryWriter\n"
        "w = SummaryWriter(sys.argv[1])\n"
        "for n in range(5): w.add_scalar('lr/unet', 0.5 / 2**n, n + 1)\n"
        "w.add_text('note', 'x' * 5000); w.close()\n"
    )
    subprocess.run((trainer_python, "-c", code, str(folder)), capture_output=True, check=True)
    (written,) = folder.iterdir()
    found = [(s.step, s.tag, s.value) for s in EventFile(written).read()]
    assert found == [(n + 1, "lr/unet", 0.5 / 2**n) for n in range(5)]
    path.write_bytes(version_record(1.0) + scalar_record(Scalar(1.5, 3, "lr/unet", 0.25)))
    assert accumulated(trainer_python, path) == {"lr/unet": {3: 0.25}}
