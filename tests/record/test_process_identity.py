from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from practice_runs import wait_until

from kohya_runner.record.process_identity import ProcessId, identify, state_of, this_process

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def test_this_process_is_alive():
    assert this_process().pid == os.getpid()
    assert this_process().alive()


def test_an_ended_process_is_not():
    child = subprocess.Popen(SLEEP)
    identity = identify(child.pid)
    assert identity.alive()
    child.kill()
    child.wait()
    assert not identity.alive()
    assert not identity.present()


def test_a_zombie_is_dead_and_still_holds_its_pid():
    child = subprocess.Popen((sys.executable, "-c", ""))
    identity = identify(child.pid)
    wait_until(lambda: state_of(child.pid) == "Z")
    assert not identity.alive()
    assert identity.present()
    child.wait()


def test_another_process_with_the_same_pid_is_not_meant():
    assert not replace(this_process(), started=this_process().started - 1).alive()


def test_a_process_of_another_boot_is_not_alive():
    assert not replace(this_process(), boot_id="another").alive()


def test_a_process_that_is_not_our_child_is_known():
    quiet = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    start = f"import subprocess; print(subprocess.Popen({SLEEP!r}, {quiet}).pid)"
    pid = int(subprocess.run((sys.executable, "-c", start), capture_output=True, check=True).stdout)
    identity = identify(pid)
    assert identity.alive()
    os.kill(pid, 9)
    wait_until(lambda: not identity.alive())


def test_a_name_with_blanks_and_brackets_is_no_obstacle(odd_path):
    program = odd_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen((program, "60"))
    assert identify(child.pid).alive()
    child.kill()
    child.wait()


def test_without_proc_the_pid_must_do(monkeypatch):
    monkeypatch.setattr("kohya_runner.record.process_identity.boot_id", lambda: "")
    assert ProcessId(os.getpid()).alive()
    child = subprocess.Popen((sys.executable, "-c", ""))
    child.wait()
    assert not ProcessId(child.pid).alive()
