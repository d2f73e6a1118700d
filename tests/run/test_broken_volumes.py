"""Runs on volumes that break, and a watch that breaks itself: real mounts, real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest
from practice_runs import wait_until
from test_breakage import Broken, ended
from test_resume import ROOT

from kohya_runner.record.process_identity import state_of

pytestmark = pytest.mark.daily


@pytest.fixture
def runner(odd_path):
    return Broken(odd_path)


@pytest.fixture
def mounted(runner):
    """Mounts something as the workspace; a machine that forbids it skips, loudly."""
    done = []

    def mount(*words):
        runner.workspace.mkdir(exist_ok=True)
        made = subprocess.run((*words, runner.workspace), capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"NO MOUNT: {' '.join(map(str, words))}: {made.stderr.strip()}")
        done.append(runner.workspace)

    yield mount
    for place in done:
        subprocess.run(("umount", "-l", place), check=True)


def test_a_run_on_a_volume_that_stops_answering_can_be_left_and_is_judged_later(runner, mounted, tmp_path):
    if shutil.which("bindfs") is None:
        pytest.skip("NO FUSE: bindfs is not installed")
    (tmp_path / "far away").mkdir()
    mounted("bindfs", tmp_path / "far away")
    process, record = runner.at_step(2, KOHYA_PRACTICE_STEP_SECONDS="0.5")
    found = subprocess.run(("pgrep", "-f", f"^bindfs {tmp_path}"), capture_output=True, text=True, check=True)
    (daemon,) = map(int, found.stdout.split())
    os.kill(daemon, signal.SIGSTOP)
    try:
        time.sleep(4)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        wait_until(lambda: state_of(record["process"]["pid"]) in ("", "Z"))
    finally:
        os.kill(daemon, signal.SIGCONT)
    code, err = ended(process)
    assert code == 130, err
    assert runner.read("record.json")["state"] == "stopped"


def test_a_volume_that_promises_more_than_it_has(runner, mounted, tmp_path):
    """ext4 on a loop device whose own disk is full: room is told, and every write fails."""
    small, disk = tmp_path / "small", tmp_path / "small" / "disk"
    small.mkdir()
    made = subprocess.run(("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", small), check=False)
    if made.returncode:
        pytest.skip("NO MOUNT: mounting is not allowed here")
    try:
        with disk.open("wb") as file:
            file.truncate(256 << 20)
        subprocess.run(("mkfs.ext4", "-q", "-J", "size=4", "-E", "nodiscard", disk), check=True)
        mounted("mount", "-o", "loop,errors=remount-ro", disk)
        process, _ = runner.at_step(2, KOHYA_PRACTICE_STEP_SECONDS="0.6")
        with (small / "filler").open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        for n in range(3):
            with contextlib.suppress(OSError):
                (runner.workspace / f"other {n}").write_bytes(os.urandom(1 << 20))
            subprocess.run(("sync", "-f", runner.workspace), capture_output=True, check=False)
        code, err = ended(process)
        assert code == 8, err
        assert "the disk takes no writes (read-only)" in err
        assert "Traceback (most recent" not in err
        assert runner.ask("status")[0] == 8
    finally:
        subprocess.run(("umount", "-l", small), check=False)


DYING = """
import os
import kohya_runner.run.guards.observer as guard
real, held = guard.look, os.environ["HELD"]
def look(recorder):
    if os.path.exists(held):
        raise {fault}
    return real(recorder)
guard.look = look
"""


@pytest.mark.parametrize(("fault", "says"), [
    ("OSError(5, 'Input/output error')", "for a while: OSError"), ("ZeroDivisionError(1)", "from then on: ZeroDiv"),
])  # fmt: skip
def test_a_guard_that_dies_is_told_and_one_that_could_not_read_looks_again(runner, tmp_path, fault, says):
    (tmp_path / "sitecustomize.py").write_text(DYING.format(fault=fault), encoding="utf-8")
    held = tmp_path / "held"
    runner.env |= {"PYTHONPATH": f"{tmp_path}:{ROOT}", "HELD": str(held)}
    process, _ = runner.at_step(2, KOHYA_PRACTICE_STEP_SECONDS="0.8")
    held.touch()
    time.sleep(3)
    held.unlink()
    code, err = ended(process)
    assert code == 0, err
    assert f"WARNING watch.fault: a part of the watch failed, and did not watch {says}" in err
    assert [note["code"] for note in runner.read("record.json")["notes"]] == ["watch.fault"]


def test_a_workspace_where_nothing_may_be_executed_is_enough(runner, mounted):
    mounted("mount", "-t", "tmpfs", "-o", "noexec,nosuid,nodev,size=64m", "tmpfs")
    code, out, err = runner.launch()
    assert code == 0, out + err


def test_two_launches_at_once_are_one_run(runner):
    both = [runner.start(KOHYA_PRACTICE_STEP_SECONDS="0.3") for _ in range(2)]
    codes = sorted(ended(process)[0] for process in both)
    assert codes == [0, 7]
    assert [path.name for path in runner.folder.parent.glob("0*")] == ["001"]
    assert runner.read("record.json")["state"] == "succeeded"


def test_two_runs_at_once_may_lay_out_the_same_pictures(runner):
    both = [runner.start(f"--set=name=run{n}", KOHYA_PRACTICE_STEP_SECONDS="0.1") for n in range(3)]
    for process in both:
        code, err = ended(process)
        assert code == 0, err


def test_an_output_folder_that_becomes_a_file_fails_with_its_reason(runner):
    process, _ = runner.at_step(2)
    shutil.rmtree(runner.output)
    runner.output.write_text("no folder")
    code, err = ended(process)
    assert code == 8
    assert "FileExistsError: [Errno 17]" in err
    assert runner.ask("status")[0] == 8
