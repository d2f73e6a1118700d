"""The command, whole: real children, the practice trainer in the trainer's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest

from kohya_runner.record.process_identity import identify

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "recipes" / "quickstart.yaml")


class Runner:
    """Starts kohya-runner in a home and a workspace of its own."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "ws"
        names = ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON", "XDG_CONFIG_HOME")
        self.env = {k: v for k, v in os.environ.items() if k not in names}
        self.env |= {"HOME": str(folder / "home"), "KOHYA_WORKSPACE": str(self.workspace), "PYTHONPATH": str(ROOT)}

    def start(self, *args: str, **env: str) -> forked.Forked | subprocess.Popen[str]:
        return forked.start(*args, env=self.env | env)

    def run(self, *args: str, **env: str) -> tuple[int, str, str]:
        return forked.run(*args, env=self.env | env)

    def launch(self, *args: str, **env: str) -> tuple[int, str, str]:
        return self.run("launch", RECIPE, "--practice", *args, **env)

    def record(self, number: str = "001") -> dict:
        path = self.workspace / "runs" / "quickstart" / number / "record.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def wait_for_step(self, step: int) -> dict:
        until = time.monotonic() + 180
        log = self.workspace / "runs" / "quickstart" / "001" / "trainer.log"
        while time.monotonic() < until:
            if log.is_file() and f" {step}/12 " in log.read_text(encoding="utf-8", errors="replace"):
                return self.record()
            time.sleep(0.05)
        raise AssertionError(log.read_text(encoding="utf-8") if log.is_file() else "no log")


@pytest.fixture
def runner(odd_path: Path) -> Runner:
    return Runner(odd_path)


def test_a_practice_run_succeeds_and_says_so_everywhere(runner):
    code, out, err = runner.launch()
    assert code == 0, err
    assert "PRACTICE" in out
    assert "PRACTICE" in err
    record = runner.record()
    assert (record["state"], record["practice"]) == ("succeeded", True)
    assert [c["file"] for c in record["checkpoints"]] == ["quickstart-000001.safetensors", "quickstart.safetensors"]
    assert [c["epoch"] for c in record["checkpoints"]] == [1, 2]
    assert all(len(c["sha256"]) == 64 and c["complete"] for c in record["checkpoints"])
    assert record["steps_seen"] == record["steps_planned"] == 12
    assert record["dataset"]["images"] == 12
    assert "PRACTICE" in runner.run("status")[1]
    assert "PRACTICE" in runner.run("runs")[1]


def test_the_record_holds_no_secret(runner):
    secret = "hf_verysecret"
    code, out, err = runner.launch(HF_TOKEN=secret, WANDB_API_KEY=secret)
    assert code == 0
    files = [p for p in runner.workspace.rglob("*") if p.is_file()]
    assert secret not in out + err
    assert not [p for p in files if secret.encode() in p.read_bytes()]


def test_the_same_run_is_not_trained_twice_by_accident(runner):
    assert runner.launch()[0] == 0
    code, _, err = runner.launch()
    assert code == 7
    assert "--again" in err
    assert "quickstart.safetensors" in err
    assert runner.launch("--once")[0] == 0
    assert not (runner.workspace / "runs/quickstart/002").exists()
    assert runner.launch("--again")[0] == 0
    assert runner.record("002")["state"] == "succeeded"
    assert runner.launch("--set", "args.seed=7")[0] == 0


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        ("crash@3", 8, "Traceback"),
        ("oom@3", 8, "out of memory"),
        ("no-file", 10, "was not written"),
        ("truncate", 10, "is cut"),
    ],
)
def test_a_run_is_judged_by_its_file(runner, fault, code, word):
    ended, _, err = runner.launch(KOHYA_PRACTICE_FAULT=fault)
    assert ended == code, err
    assert word in err
    record = runner.record()
    assert record["state"] == "failed"
    kept = [c["file"] for c in record["checkpoints"] if c["complete"]]
    assert ("quickstart-000001.safetensors" in kept) == (code == 10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_stops_the_trainer_and_keeps_whole_checkpoints(runner, number, code):
    process = runner.start("launch", RECIPE, "--practice", KOHYA_PRACTICE_STEP_SECONDS="0.2")
    record = runner.wait_for_step(7)
    process.send_signal(number)
    _, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    assert not identify(record["process"]["pid"]).alive()
    after = runner.record()
    assert after["state"] == "stopped"
    assert [c["file"] for c in after["checkpoints"] if c["complete"]] == ["quickstart-000001.safetensors"]
    assert not (runner.workspace / "runs/quickstart/active").exists()


def test_two_launches_of_one_name_do_not_meet(runner):
    first = runner.start("launch", RECIPE, "--practice", KOHYA_PRACTICE_STEP_SECONDS="0.6")
    runner.wait_for_step(1)
    code, _, err = runner.launch("--set", "args.seed=5")
    assert code == 7
    assert "is still running" in err
    first.communicate(timeout=180)
    assert first.returncode == 0
    assert runner.record()["state"] == "succeeded"


def test_a_killed_runner_costs_no_step_and_the_run_can_be_adopted(runner):
    process = runner.start("launch", RECIPE, "--practice", KOHYA_PRACTICE_STEP_SECONDS="0.4")
    runner.wait_for_step(2)
    process.kill()
    process.communicate(timeout=180)
    assert "orphaned" in runner.run("status")[1]
    code, out, err = runner.run("status", "--adopt")
    assert code == 0, err
    assert "succeeded" in out
    record = runner.record()
    assert (record["state"], record["steps_seen"]) == ("succeeded", 12)
    assert len(record["checkpoints"]) == 2


def test_a_killed_runners_trainer_can_be_stopped(runner):
    process = runner.start("launch", RECIPE, "--practice", KOHYA_PRACTICE_STEP_SECONDS="0.5")
    trainer = runner.wait_for_step(1)["process"]["pid"]
    process.kill()
    process.communicate(timeout=180)
    code, _, err = runner.run("stop")
    assert code == 0
    assert "stopped" in err
    assert not identify(trainer).alive()


def test_a_run_that_ended_unwatched_is_judged_at_the_next_look(runner):
    process = runner.start("launch", RECIPE, "--practice", KOHYA_PRACTICE_STEP_SECONDS="0.1")
    trainer = runner.wait_for_step(2)["process"]["pid"]
    process.kill()
    process.communicate(timeout=180)
    until = time.monotonic() + 180
    while identify(trainer).alive() and time.monotonic() < until:
        time.sleep(0.1)
    code, out, _ = runner.run("status", "quickstart", "--json")
    view = json.loads(out)
    assert (code, view["state"]) == (0, "succeeded")
    assert runner.record()["state"] == "succeeded"


def test_logs_are_shown_and_unknown_runs_named(runner):
    assert runner.run("status")[0] == 2
    assert runner.launch()[0] == 0
    code, out, _ = runner.run("logs", "-n", "0")
    assert code == 0
    assert "running training" in out
    assert len(runner.run("logs", "-n", "3")[1].splitlines()) == 3
    code, _, err = runner.run("logs", "quickstar_")
    assert code == 2
    assert "quickstart" in err


def test_json_is_one_object_with_the_record(runner):
    code, out, err = runner.launch("--json")
    assert code == 0, err
    assert json.loads(out)["state"] == "succeeded"
    assert json.loads(runner.run("runs", "--json")[1])["runs"][0]["state"] == "succeeded"


def test_the_compare_prompts_become_a_file_for_gen_img(runner):
    prompts = (
        "compare={prompts: ['a cat', 'a dog'], seeds: [1, 2], size: 64x48, steps: 5, guidance: 7.5, negative: blur}"
    )
    assert runner.launch("--set", prompts)[0] == 0
    lines = (runner.workspace / "runs/quickstart/001/compare-prompts.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "a cat --w 64 --h 48 --s 5 --l 7.5 --d 1 --n blur"
    assert len(lines) == 4


def test_a_second_n_folder_put_in_by_hand_is_not_trained(runner):
    assert runner.launch()[0] == 0
    trees = list((runner.workspace / "datasets/quickstart").glob("*/train"))
    (trees[0] / "5_other").mkdir()
    picture = next((trees[0] / "2_sprite").glob("*.png"))
    (trees[0] / "5_other" / "x.png").write_bytes(picture.read_bytes())
    assert runner.launch("--again")[0] == 0
    assert runner.record("002")["steps_seen"] == 12
    assert not (trees[0] / "5_other").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_trainer_is_there_is_told_too(runner, number):
    process = runner.start("launch", RECIPE, "--practice", "--json")
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    assert process.returncode in (0, 143, -number), err  # -number: before Python itself was up
    if process.returncode != -number:
        assert json.loads(out)


STOPPED_AT_THE_CLAIM = """
import os, signal
from kohya_runner.commands.cli import main
from kohya_runner.run import launch
launch.new_record = lambda plan: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


def test_a_signal_before_there_is_a_record_leaves_no_run(runner):
    command = (sys.executable, "-c", STOPPED_AT_THE_CLAIM, "launch", RECIPE, "--practice", "--json")
    done = subprocess.run(command, env=runner.env, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["exit_code"]) == (143, 143), done.stderr
    assert not list((runner.workspace / "runs" / "quickstart").glob("0*"))


def test_several_processes_are_practised_with_their_arithmetic(runner):
    code, _, err = runner.launch("--set", "launch.num_processes=2")
    assert code == 0, err
    record = runner.record()
    assert record["steps_planned"] == record["steps_seen"] == 6


def test_a_last_loss_of_nan_is_told_where_the_guard_is_off_and_the_weights_are_sound(runner):
    code, _, err = runner.launch("--set", "guard.nan=ignore", KOHYA_PRACTICE_FAULT="nan-loss@5")
    assert code == 0, err
    assert "the last loss is nan" in err
    assert runner.record()["nan_step"] == 5


def test_a_full_disk_of_the_reader_is_one_line(runner):
    command = (sys.executable, "-m", "kohya_runner", "models")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, env=runner.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_a_run_with_a_damaged_record_shows_its_log_and_its_files(runner):
    assert runner.launch()[0] == 0
    folder = runner.workspace / "runs" / "quickstart" / "001"
    (folder / "record.json").write_text("{", encoding="utf-8")
    code, out, err = runner.run("logs", "quickstart")
    assert (code, "model saved." in out) == (0, True), err
    code, out, err = runner.run("status", "quickstart")
    assert code == 2
    assert "record.json" in out
    assert str(folder / "trainer.log") in out
    assert str(folder / "output" / "quickstart-000001.safetensors") in out
