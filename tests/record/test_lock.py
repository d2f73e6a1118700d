from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from kohya_runner.errors import RunExistsError
from kohya_runner.record import lock
from kohya_runner.record.process_identity import identify, this_process


@pytest.fixture
def other():
    """A process that is alive and not this one."""
    child = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(60)"))
    yield identify(child.pid)
    child.kill()
    child.wait()


def held(folder, run_id, *owners):
    folder.mkdir(parents=True, exist_ok=True)
    owners = [{"pid": o.pid, "started": o.started, "boot_id": o.boot_id} for o in owners]
    (folder / "active").write_text(json.dumps({"run_id": run_id, "owners": owners}), encoding="utf-8")


def dead():
    child = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(60)"))
    identity = identify(child.pid)
    child.kill()
    child.wait()
    return identity


def test_a_free_name_is_taken_and_let_go(odd_path):
    lock.take(odd_path / "cat", "001")
    assert lock.read(odd_path / "cat") == lock.Lock("001", (this_process(),))
    lock.release(odd_path / "cat", "001")
    assert lock.read(odd_path / "cat") is None


def test_a_name_that_a_live_process_holds_is_refused_with_its_pid_and_run(odd_path, other):
    held(odd_path, "001", other)
    with pytest.raises(RunExistsError, match=f"run 001 .*process {other.pid}"):
        lock.take(odd_path, "002")


def test_a_lock_left_behind_is_taken_over(odd_path):
    held(odd_path, "001", dead())
    lock.take(odd_path, "002")
    assert lock.read(odd_path).run_id == "002"


def test_a_trainer_that_outlived_its_runner_still_holds_the_name(odd_path, other):
    held(odd_path, "001", dead(), other)
    with pytest.raises(RunExistsError, match=f"process {other.pid}"):
        lock.take(odd_path, "002")


def test_the_run_of_an_orphan_can_be_taken_over_and_keeps_its_trainer(odd_path, other):
    held(odd_path, "001", dead(), other)
    lock.take(odd_path, "001")
    assert lock.read(odd_path).owners == (this_process(), other)


def test_a_run_is_not_taken_over_from_a_live_runner(odd_path, other):
    held(odd_path, "001", other)
    with pytest.raises(RunExistsError):
        lock.take(odd_path, "001")


def test_a_lock_that_says_nothing_is_believed_only_while_it_is_young(odd_path):
    (odd_path / "active").touch()
    with pytest.raises(RunExistsError, match="starting"):
        lock.take(odd_path, "001")
    os.utime(odd_path / "active", (time.time() - 60,) * 2)
    lock.take(odd_path, "001")
    assert lock.read(odd_path).run_id == "001"


def test_another_run_does_not_let_go(odd_path):
    lock.take(odd_path, "001")
    lock.release(odd_path, "002")
    assert lock.read(odd_path).run_id == "001"


def test_of_many_at_once_one_gets_a_name_left_behind(odd_path):
    held(odd_path, "001", dead())
    script = (
        "import sys, time, pathlib; from kohya_runner.record import lock\n"
        "from kohya_runner.errors import RunExistsError\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "try:\n    lock.take(folder, sys.argv[2]); print('took', flush=True); sys.stdin.read()\n"
        "except RunExistsError:\n    print('refused', flush=True)"
    )
    argv = (sys.executable, "-c", script, str(odd_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen((*argv, str(number)), **pipes) for number in range(6)]
    answers = [child.stdout.readline().strip() for child in children]
    for child in children:
        child.communicate()
    assert sorted(answers) == ["refused"] * 5 + ["took"]
