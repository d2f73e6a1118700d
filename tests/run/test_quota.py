"""The disk guard on a network volume: it goes by the declared size, not by the numbers of a whole cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from kohya_runner.machine import filesystems
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Request
from kohya_runner.run.launch import guard_facts

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
VOLUME = 50 * 10**9
ON_A_VOLUME = """
import sys
from kohya_runner.commands.cli import main
from kohya_runner.machine import filesystems

folder = sys.argv.pop()
filesystems.mount_of = lambda path, mounts=None: ("mfs#euro-1:9421", folder, "fuse")
main()
"""
"""The whole command, in a process whose workspace seems to lie on RunPod's MooseFS."""


def launched(workspace: Path, **env: str) -> dict:
    command = (sys.executable, "-c", ON_A_VOLUME, "launch", str(RECIPE), "--practice", str(workspace.parent))
    home = {"HOME": str(workspace.parent / "home"), "KOHYA_WORKSPACE": str(workspace), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env={**os.environ, **home, **env}, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((workspace / "runs" / "quickstart" / "001" / "record.json").read_bytes())


def test_a_launch_on_a_volume_knows_the_declared_room(odd_path):
    room = launched(odd_path / "ws", KOHYA_RUNNER_VOLUME_GB="50")["guard"]["quota_free"]
    assert VOLUME - 10**8 < room <= VOLUME


def test_a_launch_on_a_volume_without_a_declared_size_knows_nothing(odd_path):
    assert launched(odd_path / "ws")["guard"]["quota_free"] is None


def planned(workspace: Path, monkeypatch, declared: str):
    monkeypatch.setattr(filesystems, "mount_of", lambda *_: ("mfs#euro-1:9421", str(workspace.parent), "fuse"))
    request = Request(RECIPE, workspace=str(workspace), practice=True)
    return make_plan(request, environ={**os.environ, "KOHYA_RUNNER_VOLUME_GB": declared})


def test_what_a_run_writes_is_planned_in_its_own_folder(odd_path, monkeypatch):
    plan = planned(odd_path / "ws", monkeypatch, "50")
    items = {item.what: item.path for use in plan.disk.uses for item in use.items}
    assert items["checkpoints"] == plan.ready.run_dir / "output"
    assert items["log"] == plan.ready.run_dir


def test_the_guard_takes_the_room_from_the_plan(odd_path, monkeypatch):
    plan = planned(odd_path / "ws", monkeypatch, "50")
    assert guard_facts(plan).quota_free == plan.disk.uses[0].free
    assert VOLUME - 10**8 < plan.disk.uses[0].free <= VOLUME
