"""What is done to a run's files while it goes on, and two commands at the same moment: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import forked
import pytest
from practice_runs import wait_until
from test_breakage import Broken, ended
from test_broken_volumes import mounted  # noqa: F401 - a fixture

from kohya_runner.record.process_identity import state_of

pytestmark = pytest.mark.full
SLOW = {"KOHYA_PRACTICE_STEP_SECONDS": "0.6"}


@pytest.fixture
def runner(odd_path):
    return Broken(odd_path)


def at_once(runner, *commands):
    """The exit codes of commands that were begun together."""
    begun = [forked.start(*words, env=runner.env) for words in commands]
    return sorted(ended(process)[0] for process in begun)


def test_a_disk_that_is_frozen_for_a_while_is_waited_for(runner, mounted, tmp_path):  # noqa: F811
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(("mkfs.ext4", "-q", disk), check=True)
    mounted("mount", "-o", "loop", disk)
    process, _ = runner.at_step(2, **SLOW)
    if subprocess.run(("fsfreeze", "-f", runner.workspace), capture_output=True, check=False).returncode:
        pytest.skip("NO FREEZE: fsfreeze is not allowed here")
    try:
        time.sleep(6)
    finally:
        subprocess.run(("fsfreeze", "-u", runner.workspace), check=True)
    code, err = ended(process)
    assert (code, runner.read("record.json")["steps_seen"]) == (0, 12), err


def test_a_disk_without_an_inode_left_is_a_full_one(runner, mounted):  # noqa: F811
    mounted("mount", "-t", "tmpfs", "-o", "size=256m,nr_inodes=1000", "tmpfs")
    process = runner.start("--resume", "--set=guard.disk=ignore", **SLOW)
    runner.wait_for(" 2/12 ")
    (runner.workspace / "more").mkdir()
    with contextlib.suppress(OSError):
        for number in range(1000):
            (runner.workspace / "more" / str(number)).touch()
    code, err = ended(process)
    assert (code, "disk.full" in json.dumps(runner.read("record.json")) + err) == (8, True), err


def test_two_resumes_at_once_are_one_run(runner):
    runner.cut(9)
    both = [runner.start("--resume", **SLOW) for _ in range(2)]
    assert sorted(ended(process)[0] for process in both) == [0, 7]
    assert (runner.read("record.json")["state"], runner.read("record.json")["attempt"]) == ("succeeded", 2)


def test_two_stops_at_once_both_stop(runner):
    process, _ = runner.at_step(2, **SLOW)
    assert at_once(runner, ("stop",), ("stop",)) in ([0, 0], [0, 2])  # 2: it was stopped already
    ended(process)
    assert runner.read("record.json")["state"] == "stopped"


def test_three_looks_at_once_judge_a_lost_run_once(runner):
    process, record = runner.at_step(8)
    for pid in (record["runner"]["pid"], record["process"]["pid"]):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: state_of(record["process"]["pid"]) in ("", "Z"))
    assert at_once(runner, *[("status",)] * 3) == [8, 8, 8]
    assert runner.read("record.json")["state"] == "lost"


def test_a_frozen_trainer_is_stopped(runner):
    process, record = runner.at_step(2, **SLOW)
    os.kill(record["process"]["pid"], signal.SIGSTOP)
    wait_until(lambda: state_of(record["process"]["pid"]) == "T")
    assert runner.ask("stop")[0] == 0
    ended(process)
    assert state_of(record["process"]["pid"]) in ("", "Z")


def unlink_record(folder):
    (folder / "record.json").unlink()


def garbled_request(folder):
    (folder / "stop.json").write_text("{garbage")


def piped_metrics(folder):
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")


def strangers(folder):
    for number in range(2000):
        (folder / "output" / f"other {number}.txt").touch()


def removed_output(folder):
    shutil.rmtree(folder / "output")


@pytest.mark.parametrize("harm", [unlink_record, garbled_request, piped_metrics, strangers, removed_output])
def test_a_run_succeeds_all_the_same(runner, harm):
    process, _ = runner.at_step(8, **SLOW)
    harm(runner.folder)
    assert runner.ask("runs")[0] == 0
    code, err = ended(process)
    assert code == 0, err
    assert runner.read("record.json")["state"] == "succeeded"
    assert runner.ask("status")[0] == 0


def test_a_state_folder_that_is_a_link_is_resumed_from(runner):
    runner.cut(9)
    state = runner.output / "quickstart-000001-state"
    state.rename(runner.workspace / "elsewhere")
    state.symlink_to(runner.workspace / "elsewhere")
    code, out, err = runner.launch("--resume")
    assert (code, runner.read("record.json")["attempt"]) == (0, 2), out + err
