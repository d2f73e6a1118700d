"""The command line with the practice trainer, in a home and a workspace of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import forked
import pytest
from servers import wait_for

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "recipes" / "quickstart.yaml")


class Shell:
    def __init__(self, folder):
        self.workspace = folder / "ws"
        ours = ("KOHYA_", "XDG_", "RUNPOD_")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.env |= {"HOME": str(folder), "KOHYA_WORKSPACE": str(self.workspace), "PYTHONPATH": str(ROOT)}
        self.started = []

    @property
    def run_dir(self):
        return self.workspace / "runs" / "quickstart" / "001"

    def start(self, *words, **env):
        process = forked.start(*words, env=self.env | env)
        self.started.append(process)
        return process

    def run(self, *words, **env):
        process = self.start(*words, **env)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def launch(self, *sets, **env):
        options = [word for text in sets for word in ("--set", text)]
        return self.start("launch", RECIPE, "--practice", *options, **env)

    def record(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.run_dir / "record.json").read_bytes())
        return {}

    def wait_for_process(self):
        return wait_for(lambda: self.record().get("process"))["pid"]

    def sentinels(self):
        """The processes that watch this workspace's run."""
        mine = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (folder / "cmdline").read_bytes()
                    if b"kohya_runner.finish.sentinel" in words and os.fsencode(self.run_dir) in words:
                        mine.append(int(folder.name))
        return mine

    def clean_up(self):
        for process in self.started:
            process.kill()
            process.communicate()
        pids = [*self.sentinels(), *([self.record()["process"]["pid"]] if self.record().get("process") else [])]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def shell(odd_path):
    made = Shell(odd_path)
    yield made
    made.clean_up()
