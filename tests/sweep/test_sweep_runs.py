"""Sweeps with practice runs, as commands: all problems first, turns, the purse, going on, and being stopped."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from detached_runs import RECIPE, Machine
from practice_runs import wait_until

pytestmark = pytest.mark.daily

TWO = ("--set", "args.network_dim=4,8")
NAMES = ["quickstart_dim4", "quickstart_dim8"]


@pytest.fixture
def machine(odd_path):
    made = Machine(odd_path)
    made.env["KOHYA_PRACTICE_STEP_SECONDS"] = "0.01"
    yield made
    made.clean_up()


def swept(machine, *words, **env):
    code, out, err = machine.run("sweep", RECIPE, "--practice", *words, "--json", **env)
    return code, json.loads(out), err


def states(told):
    return {run["name"]: run["state"] for run in told["runs"]}


def record(machine, name, number="001"):
    return json.loads((machine.workspace / "runs" / name / number / "record.json").read_text(encoding="utf-8"))


def test_all_runs_are_trained_in_turn_on_one_dataset_and_kept(machine):
    code, told, _ = swept(machine, *TWO, "--price", "3.6")
    assert (code, told["ok"], states(told)) == (0, True, dict.fromkeys(NAMES, "succeeded"))
    assert [run["label"] for run in told["runs"]] == ["dim4", "dim8"]
    assert all(run["cost"] > 0 for run in told["runs"])
    assert all(run["cost"] == pytest.approx(run["seconds"] / 1000, abs=1e-4) for run in told["runs"])
    assert told["spent"]["cost"] == pytest.approx(told["spent"]["seconds"] / 1000)
    trees = {token for name in NAMES for token in record(machine, name)["argv"] if token.startswith("--train_data_dir")}
    assert len(trees) == 1
    assert [path.name for path in (machine.workspace / "datasets").iterdir()] == ["quickstart"]
    assert "--network_dim=8" in record(machine, NAMES[1])["argv"]
    before = {path: path.stat().st_mtime_ns for path in machine.workspace.glob("runs/*/*/record.json")}
    code, told, _ = swept(machine, *TWO)
    assert (code, states(told)) == (0, dict.fromkeys(NAMES, "succeeded"))
    assert {path: path.stat().st_mtime_ns for path in machine.workspace.glob("runs/*/*/record.json")} == before


def test_what_was_understood_is_said_and_a_dry_run_writes_nothing(machine):
    words = ("--set", 'args.resolution="64,64","64,128"', "--dry-run", "--max-hours", "1")
    code, out, _ = machine.run("sweep", RECIPE, "--practice", *words)
    assert code == 0
    assert "sweep quickstart: 2 runs in turn" in out
    for wanted in ('args.resolution="64,64"', "quickstart_resolution64-128", "in all: 24 steps", "purse: 1 h 00 min"):
        assert wanted in out, out
    assert not (machine.workspace / "runs").exists()
    assert not (machine.workspace / "sweeps").exists()


def test_problems_of_all_runs_are_told_at_once_and_nothing_is_started(machine):
    words = ("--set", "args.network_dim=4,-1", "--set", "args.lr_scheduler=cosine,nonsense", "--set", "args.sead=1")
    code, out, err = machine.run("sweep", RECIPE, "--practice", *words)
    assert code == 3
    said = " ".join((out + err).split())
    assert "4 of 4 runs would be refused" in said
    assert said.count("'sead'") == 1
    assert "nonsense" in said
    assert not (machine.workspace / "runs").exists()


@pytest.mark.parametrize("wrong", ["network_dim", "args.netwrok_dim"])
def test_a_misspelt_key_is_one_problem_and_its_correction_keeps_all_values(wrong, machine):
    code, out, err = machine.run("sweep", RECIPE, "--practice", "--set", f"{wrong}=4,8")
    said = " ".join((out + err).split())
    assert code == 3
    assert said.count("error ") == said.count("write --set args.network_dim=4,8") == 1


def test_a_failed_run_does_not_stop_the_others_and_sets_the_exit_code(machine):
    words = ("--set", "args.max_train_epochs=2,1")
    code, told, _ = swept(machine, *words, KOHYA_PRACTICE_FAULT="crash@8")
    assert (code, told["ok"]) == (8, False)
    assert states(told) == {"quickstart_max_train_epochs2": "failed", "quickstart_max_train_epochs1": "succeeded"}
    assert told["runs"][0]["said"]
    code, told, _ = swept(machine, *words)
    assert (code, set(states(told).values())) == (0, {"succeeded"})
    assert record(machine, "quickstart_max_train_epochs2")["attempt"] == 2


def test_a_run_that_the_purse_does_not_pay_for_is_not_started(machine):
    code, told, _ = swept(machine, *TWO, "--max-cost", "0.03", "--price", "36", KOHYA_PRACTICE_STEP_SECONDS="0.1")
    assert code == 9
    assert states(told) == {NAMES[0]: "succeeded", NAMES[1]: "not started"}
    assert told["runs"][1]["said"].startswith("not started: it takes about")
    code, told, _ = swept(machine, *TWO, "--max-cost", "100", "--price", "36")
    assert (code, set(states(told).values())) == (0, {"succeeded"})


def test_the_running_one_is_stopped_at_a_save_when_the_money_is_spent(machine):
    words = ("--set", "args.max_train_epochs=40,41", "--max-hours", str(16 / 3600))
    code, told, _ = swept(machine, *words, KOHYA_PRACTICE_STEP_SECONDS="0.4")
    assert code == 9
    first = record(machine, "quickstart_max_train_epochs40")
    assert told["runs"][0]["said"].startswith("the purse is empty: ")
    assert first["state"] in ("stopped", "failed")  # by its own limit where the machine had no time to look
    assert told["runs"][1]["state"] == "not started"
    assert [c for c in first["checkpoints"] if c["complete"]]
    assert first["steps_seen"] < 240


def test_a_price_is_needed_for_a_limit_of_money_and_comes_from_the_settings(machine):
    code, _, err = machine.run("sweep", RECIPE, "--practice", *TWO, "--max-cost", "1", "--dry-run")
    assert code == 2
    assert "--price" in err
    settings = Path(machine.env["HOME"]) / ".config" / "kohya-runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("prices: [0.5]\n", encoding="utf-8")
    code, out, _ = machine.run("sweep", RECIPE, "--practice", *TWO, "--max-cost", "1", "--dry-run")
    assert code == 0
    assert "purse: 2 h 00 min (1.00)" in out


def test_changed_recipes_and_values_are_told(machine):
    swept(machine, *TWO)
    code, out, _ = machine.run(
        "sweep", RECIPE, "--practice", "--set", "args.network_dim=8,16", "--set", "args.seed=7", "--dry-run"
    )
    assert code == 0
    assert "new in this sweep: quickstart_dim16" in out
    assert "no longer asked for, and kept: quickstart_dim4" in out
    assert "have changed since quickstart_dim8 was planned" in out


def running(machine, name):
    def state():
        try:
            return record(machine, name)["state"] == "running" and record(machine, name)["steps_seen"] > 0
        except (OSError, ValueError):
            return False

    return wait_until(state)


def begun(machine, *words):
    return machine.start("sweep", RECIPE, "--practice", *words, KOHYA_PRACTICE_STEP_SECONDS="0.3")


def test_ctrl_c_ends_the_sweep_and_the_same_command_goes_on(machine):
    process = begun(machine, *TWO)
    running(machine, NAMES[0])
    code, _, err = machine.run("sweep", RECIPE, "--practice", *TWO)
    assert (code, "this sweep goes on" in err) == (7, True)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "not started" in out
    assert not (machine.workspace / "runs" / NAMES[1]).exists()
    code, told, _ = swept(machine, *TWO)
    assert (code, set(states(told).values())) == (0, {"succeeded"})


def test_a_run_that_is_stopped_by_its_name_leaves_the_others_alone(machine):
    process = begun(machine, *TWO)
    running(machine, NAMES[0])
    assert machine.run("stop", NAMES[0], "--after-step")[0] == 0
    process.communicate(timeout=180)
    assert process.returncode == 143
    assert (record(machine, NAMES[0])["state"], record(machine, NAMES[1])["state"]) == ("stopped", "succeeded")


def test_a_killed_sweep_goes_on_with_the_trainer_that_still_runs(machine):
    process = begun(machine, *TWO)
    running(machine, NAMES[0])
    trainer = record(machine, NAMES[0])["process"]["pid"]
    process.kill()
    process.wait()
    code, told, _ = swept(machine, *TWO)
    assert (code, set(states(told).values())) == (0, {"succeeded"})
    assert record(machine, NAMES[0])["process"]["pid"] == trainer


def test_a_damaged_record_is_told_and_not_overwritten(machine):
    file = machine.workspace / "sweeps" / "quickstart" / "sweep.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    code, _, err = machine.run("sweep", RECIPE, "--practice", *TWO)
    assert (code, str(file) in err, file.read_text()) == (2, True, "{")


def test_on_a_terminal_it_is_asked(machine):
    words = (sys.executable, "-m", "kohya_runner", "sweep", RECIPE, "--practice", *TWO)
    terminal = machine.terminal(*words)
    terminal.wait_for("Start?")
    terminal.type("n\n")
    assert terminal.wait() != 0
    assert not (machine.workspace / "runs").exists()
