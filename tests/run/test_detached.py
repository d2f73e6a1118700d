"""Runs that go on without the terminal they were launched from: real processes, real signals, a real hang-up."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from detached_runs import COMMAND, RECIPE, Machine, gone, held
from practice_runs import wait_until

pytestmark = pytest.mark.daily

LONG = ("--set", "datasets.0.repeats=200")  # 600 steps an epoch
SECRET = "hf_thisIsNobodysToken123"


@pytest.fixture
def machine(odd_path):
    made = Machine(odd_path)
    yield made
    made.clean_up()


def test_a_detached_launch_ends_once_the_trainer_is_there_and_the_run_goes_on(machine):
    code, out, err = machine.run("launch", RECIPE, "--practice", "--detach")
    assert code == 0, err
    assert out.splitlines()[-1] == "quickstart/001"
    assert "kohya-runner watch quickstart/001" in err
    kept = machine.record()
    assert kept["state"] == "running"
    assert not gone(kept["process"]["pid"])
    assert os.getsid(kept["runner"]["pid"]) == kept["runner"]["pid"]
    ended = machine.wait_for_end()
    assert (ended["state"], ended["steps_seen"]) == ("succeeded", 12)
    wait_until(lambda: gone(kept["runner"]["pid"]))
    talk = (machine.run_dir / "runner.log").read_text(encoding="utf-8")
    assert "saving quickstart.safetensors" in talk
    assert not (machine.run_dir.parent / "active").exists()


def test_a_detached_launch_for_programs_is_one_object(machine):
    code, out, _ = machine.run("launch", RECIPE, "--practice", "--detach", "--json")
    said = json.loads(out)
    assert (code, said["ok"], said["run_id"], said["state"]) == (0, True, "001", "running")
    assert said["trainer"] == machine.record()["process"]["pid"]
    machine.wait_for_end()


def test_what_is_wrong_is_seen_in_the_foreground(machine):
    code, out, _ = machine.run("launch", RECIPE, "--practice", "--detach", "--set", "args.max_train_epoch=4")
    assert code == 3
    assert "max_train_epochs" in out
    assert not machine.run_dir.exists()
    machine.detach(step=0.01)
    assert machine.wait_for_end()["state"] == "succeeded"
    code, _, err = machine.run("launch", RECIPE, "--practice", "--detach")
    assert code == 7
    assert "--again" in err
    assert machine.run("launch", RECIPE, "--practice", "--detach", "--once")[0] == 0


def test_a_trainer_that_cannot_start_is_the_exit_code_of_the_launch(machine, odd_path):
    (odd_path / "no").mkdir()
    tree = machine.workspace / "datasets"
    tree.parent.mkdir(parents=True, exist_ok=True)
    tree.write_text("in the way of the laid-out folders", encoding="utf-8")
    code, _, err = machine.run("launch", RECIPE, "--practice", "--detach")
    assert code == 4, err
    assert "datasets" in err
    assert "Traceback" not in err


def test_ctrl_c_takes_a_detached_launch_back_that_has_not_begun(machine):
    launch = machine.start("launch", RECIPE, "--practice", "--detach")
    wait_until((machine.run_dir / "record.json").exists)
    launch.send_signal(signal.SIGINT)
    code = launch.wait(180)
    if code == 130:  # in the moment in which the record is begun nobody is there to end it
        assert json.loads(machine.run("runs", "--json")[1])["runs"][0]["state"] in ("stopped", "lost")
        assert not (machine.run_dir.parent / "active").exists()
        assert gone(machine.record()["runner"]["pid"])
    else:  # it was faster
        assert (code, machine.wait_for_end()["state"]) == (0, "succeeded")


def test_two_launches_of_one_run_collide_safely(machine):
    both = [machine.start("launch", RECIPE, "--practice", "--detach") for _ in range(2)]
    ends = sorted((p.communicate(timeout=180), p.returncode)[1] for p in both)
    assert ends == [0, 7]
    assert machine.wait_for_end()["state"] == "succeeded"
    assert not (machine.run_dir.parent / "002").exists()


def test_a_lost_connection_changes_nothing(machine):
    """The shell of a terminal launches, the terminal is closed: the kernel hangs up on its foreground group."""
    words = " ".join(f"'{word}'" if " " in word else word for word in (*COMMAND, "launch", RECIPE, "--practice"))
    shell = machine.terminal("/bin/sh", "-c", f"{words} --detach; sleep 60")
    shell.wait_for("runs without this terminal")
    shell.hang_up()
    kept = machine.record()
    assert not gone(kept["runner"]["pid"])
    ended = machine.wait_for_end()
    assert (ended["state"], ended["steps_seen"]) == ("succeeded", 12)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL, signal.SIGTERM])
def test_the_foreground_may_be_gone_before_the_trainer_is_there(machine, number):
    launch = machine.start("launch", RECIPE, "--practice", "--detach")
    wait_until((machine.run_dir / "record.json").exists)
    os.killpg(launch.pid, number)
    launch.communicate(timeout=180)
    ended = machine.wait_for_end()
    assert (ended["state"], ended["steps_seen"]) == ("succeeded", 12)


def test_secrets_stay_with_the_runner_and_are_seen_nowhere(machine):
    kept = machine.detach(HF_TOKEN=SECRET, WANDB_API_KEY=SECRET)
    for part in ("runner", "process"):
        folder = Path(f"/proc/{kept[part]['pid']}")
        assert SECRET.encode() not in (folder / "cmdline").read_bytes()
    assert SECRET.encode() not in (folder / "environ").read_bytes()  # random weights: nothing is asked of the Hub
    machine.wait_for_end()
    assert not [p for p in machine.workspace.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


def test_logs_follow_a_detached_run_to_its_end(machine):
    machine.detach()
    code, out, _ = machine.run("logs", "-f", "-n", "0")
    assert code == 0
    assert "running training" in out
    assert "model saved." in out


@pytest.mark.parametrize("when", ["--after-step", "--now"])
def test_a_detached_run_is_stopped_in_the_middle_of_an_epoch(machine, when):
    machine.detach(*LONG, step=0.2)
    machine.wait_for_step(2, 1200)
    code, _, err = machine.run("stop", when)
    assert code == 0, err
    assert "quickstart/001: stopped as you asked at step " in err
    assert ", before the first save" in err
    kept = machine.record()
    assert (kept["state"], kept["checkpoints"]) == ("stopped", [])
    assert gone(kept["process"]["pid"])
    assert machine.run("status")[0] == 143


def test_a_detached_run_is_stopped_after_its_next_save(machine):
    machine.detach("--set", "args.max_train_epochs=400", step=0.1, KOHYA_PRACTICE_FAULT="slow-save=1")
    machine.wait_for_step(2, 2400)
    code, _, err = machine.run("stop", "--after-save")
    assert code == 0, err
    kept = machine.record()
    assert kept["state"] == "stopped"
    assert kept["checkpoints"]
    assert all(c["complete"] for c in kept["checkpoints"])
    assert kept["steps_seen"] - 6 * len(kept["checkpoints"]) < 6  # the one after it was not waited for


def test_a_second_stop_is_harder_than_the_first(machine):
    machine.detach(*LONG, step=0.2)
    machine.wait_for_step(2, 1200)
    patient = machine.start("stop", "--after-save")
    wait_until((machine.run_dir / "stop.json").exists)
    code, _, err = machine.run("stop", "--after-save")
    assert code == 0, err
    assert "stopped" in patient.communicate(timeout=180)[1]
    kept = machine.record()
    assert (kept["state"], kept["checkpoints"]) == ("stopped", [])


def test_a_stop_request_need_not_be_waited_for(machine):
    trainer = machine.detach(step=0.5)["process"]["pid"]
    machine.wait_for_step(1)
    with held(trainer):
        assert machine.run("stop", "--after-save", "--no-wait")[0] == 0
    assert [c["epoch"] for c in machine.wait_for_end()["checkpoints"]] == [1]
    assert machine.run("stop", "--after-save")[0] == 2


def test_a_run_of_another_machine_is_stopped_through_its_folder(machine, monkeypatch):
    from onlookers import Lines

    from kohya_runner.finish.after import AFTER_RUN
    from kohya_runner.record import ledger
    from kohya_runner.run import run_status, views

    machine.detach(step=0.2)
    machine.wait_for_step(1)
    monkeypatch.setattr(run_status, "boot_id", lambda: "another-boot")
    monkeypatch.setattr("kohya_runner.record.process_identity.boot_id", lambda: "another-boot")
    look = run_status.StatusReader(machine.run_dir).look()
    assert (look.state, look.elsewhere) == ("running", True)
    assert views.one_run(str(machine.workspace), None).state == "running"
    assert machine.record()["state"] == "running"
    views.stop(ledger.view(machine.run_dir), "after-step", Lines(), AFTER_RUN)
    assert machine.record()["state"] == "stopped"


def test_a_runner_that_is_killed_again_and_again_is_replaced_and_no_line_comes_twice(machine):
    trainer = machine.detach("--set", "args.max_train_epochs=4", step=0.3)["process"]["pid"]
    for step in (2, 5, 8):
        machine.wait_for_step(step, 24)
        with held(trainer):
            os.kill(machine.record()["runner"]["pid"], signal.SIGKILL)
            wait_until(lambda: gone(machine.record()["runner"]["pid"]))
            watch = machine.start("watch", "--adopt")
            wait_until(lambda: not gone(machine.record()["runner"]["pid"]))
        watch.send_signal(signal.SIGINT)  # leaves the run alone
        assert watch.wait(180) == 0
    assert machine.record()["process"]["pid"] == trainer
    ended = machine.wait_for_end()
    assert (ended["state"], ended["steps_seen"], len(ended["checkpoints"])) == ("succeeded", 24, 4)
    lines = machine.metrics()
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == sorted(set(steps))
    assert steps[-1] == 24
    assert [line["begins"] for line in lines if "begins" in line] == [1, 2, 3, 4]
    files = [line["checkpoint"] for line in lines if "checkpoint" in line]
    assert files == [c["file"] for c in ended["checkpoints"]]


def test_a_killed_trainer_is_a_failed_run(machine):
    kept = machine.detach(step=0.1, KOHYA_PRACTICE_FAULT="hang@9")
    machine.wait_for_step(8)
    os.kill(kept["process"]["pid"], signal.SIGKILL)
    ended = machine.wait_for_end()
    assert (ended["state"], ended["exit"]["signal"]) == ("failed", 9)
    assert [c["epoch"] for c in ended["checkpoints"] if c["complete"]] == [1]
    code, out, _ = machine.run("watch")
    assert code == 8
    assert "failed" in out or "signal 9" in out
    assert max(line.get("step", 0) for line in machine.metrics()) >= 6  # but for half a second


def test_when_both_are_killed_what_was_measured_is_kept(machine):
    kept = machine.detach(step=0.1, KOHYA_PRACTICE_FAULT="hang@9")
    machine.wait_for_step(8)
    for part in ("runner", "process"):
        os.kill(kept[part]["pid"], signal.SIGKILL)
    wait_until(lambda: gone(kept["process"]["pid"]) and gone(kept["runner"]["pid"]))
    code, out, _ = machine.run("watch", "--json")
    assert (code, json.loads(out.splitlines()[-1])["state"]) == (8, "lost")
    assert machine.run("status")[0] == 8
    assert machine.record()["state"] == "lost"
    assert [c["epoch"] for c in machine.record()["checkpoints"] if c["complete"]] == [1]
    assert machine.run("report")[0] == 0
    assert "quickstart-000001.safetensors" in (machine.run_dir / "report.html").read_text(encoding="utf-8")
    assert machine.run("launch", RECIPE, "--practice")[0] == 0


def test_an_orphan_is_stopped_after_its_save_by_the_command_itself(machine):
    kept = machine.detach(step=0.9)
    machine.wait_for_step(2)
    os.kill(kept["runner"]["pid"], signal.SIGKILL)
    wait_until(lambda: gone(kept["runner"]["pid"]))
    code, _, err = machine.run("stop", "--after-save")
    assert code == 0, err
    ended = machine.record()
    assert (ended["state"], [c["epoch"] for c in ended["checkpoints"]]) == ("stopped", [1])


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_watch_is_left_with_a_key_and_the_run_goes_on(machine, key):
    kept = machine.detach("--set", "args.max_train_epochs=400", step=0.2)
    machine.wait_for_step(3, 2400)
    screen = machine.terminal(*COMMAND, "watch")
    screen.wait_for("q leaves the run alone")
    screen.wait_for("loss")
    screen.resize(40, 140)
    screen.wait_for("─" * 90)  # as wide as it is now
    screen.type(key)
    assert screen.wait() == 0
    assert not gone(kept["process"]["pid"])
    assert not gone(kept["runner"]["pid"])


def test_watch_without_a_terminal_is_plain_lines_to_the_end(machine):
    machine.detach()
    code, out, _ = machine.run("watch")
    assert code == 0
    assert "\x1b" not in out
    assert "epoch 2/2" in out
    assert out.splitlines()[-1].startswith("PRACTICE succeeded")


def test_watch_for_programs_is_an_object_a_line(machine):
    machine.detach("--set", "budget.price_per_hour=0.5")
    code, out, _ = machine.run("watch", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[-1]["state"] == "succeeded"
    assert lines[-1]["cost"] > 0
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
