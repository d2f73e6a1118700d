"""Command lines of the practice trainer, run with and without a runner of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("runner_child.py")
SCRIPT = "train_network.py"


def wait_until(condition, seconds=180.0):
    """Wait for something to become true; the value it has then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {seconds} s: {condition}")


class Practice:
    """Builds command lines for the practice trainer, and runs them with or without a runner."""

    def __init__(self, root, train_dir):
        self.run_dir = root / "runs" / "my cat" / "001"
        self.output = self.run_dir / "output"
        self.output.mkdir(parents=True)
        self.train_dir = train_dir
        self.runners = []

    def options(self, **changes):
        """The arguments of the script; None leaves one out, True is a switch."""
        chosen = {
            "train_data_dir": self.train_dir, "output_dir": self.output, "output_name": "my cat", "resolution": 64,
            "caption_extension": ".txt", "network_module": "networks.lora", "network_dim": 2, "max_train_epochs": 2,
            "save_every_n_epochs": 1, "save_model_as": "safetensors", "cache_latents": True, **changes,
        }  # fmt: skip
        given = {name: value for name, value in chosen.items() if value is not None}
        return tuple(f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items())

    def argv(self, **changes):
        return (sys.executable, "-m", "kohya_runner.practice.trainer", SCRIPT, *self.options(**changes))

    def environ(self, fault="", step=0.01):
        extra = {"PYTHONPATH": str(ROOT), "KOHYA_PRACTICE_FAULT": fault, "KOHYA_PRACTICE_STEP_SECONDS": str(step)}
        return {**os.environ, **extra}

    def run(self, fault="", **changes):
        """Without a runner: the finished process."""
        return subprocess.run(
            self.argv(**changes), env=self.environ(fault), capture_output=True, text=True, timeout=180, check=False
        )

    def supervised(self, fault="", step=0.01, grace=(5.0, 5.0, 20.0), **changes):
        """With a runner in a process of its own: that process, its trainer started."""
        return self.supervised_argv(self.argv(**changes), self.environ(fault, step), grace)

    def supervised_argv(self, argv, environ, grace=(5.0, 5.0, 20.0), prefix=()):
        settings = json.dumps({"argv": [str(token) for token in argv], "grace": grace, "final": "my cat.safetensors"})
        process = subprocess.Popen((*prefix, sys.executable, CHILD, str(self.run_dir), settings), env=environ)
        self.runners.append(process)
        wait_until(lambda: self.marker("started").exists())
        return process

    def marker(self, name):
        return self.run_dir / f"marker {name}"

    @property
    def trainer(self):
        return int(self.marker("started").read_text())

    def outcome(self, runner, seconds=180):
        """What the runner says at its end."""
        assert runner.wait(seconds) == 0
        return json.loads((self.run_dir / "outcome.json").read_text(encoding="utf-8"))

    def log(self):
        return (self.run_dir / "trainer.log").read_text(encoding="utf-8")

    def clean_up(self):
        for runner in self.runners:
            runner.kill()
            runner.wait()
        if self.marker("started").exists():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.trainer, signal.SIGKILL)
