from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import body_of, serving, wait_for

from kohya_runner.artefact.lora import inspect
from kohya_runner.finish import sentinel
from kohya_runner.record import ledger, record
from kohya_runner.record.process_identity import ProcessId, identify, this_process
from kohya_runner.record.record import Record, Timings
from kohya_runner.run.guards.state import deadline
from kohya_runner.run.stop_sequence import RUN

pytestmark = pytest.mark.daily

RECIPE = str(Path(__file__).parents[2] / "recipes" / "quickstart.yaml")
LONG = ("args.max_train_epochs=500",)
SIX_SECONDS = f"budget.max_hours={6 / 3600}"
SLOW = {"KOHYA_PRACTICE_STEP_SECONDS": "0.02", "KOHYA_PRACTICE_FAULT": "slow-save=1"}


@pytest.mark.parametrize(
    ("budget", "at", "code"),
    [
        ({"max_hours": 2}, 7200.0, "budget.hours"),
        ({"max_cost": 1, "price_per_hour": 0.5}, 7200.0, "budget.cost"),
        ({"max_hours": 3, "max_cost": 1, "price_per_hour": 0.5}, 7200.0, "budget.cost"),
    ],
)
def test_the_earlier_limit_counts_from_the_start(budget, at, code):
    found = deadline(budget)
    assert (found.after, found.stop.code) == (at, code)


@pytest.mark.parametrize(
    "budget", [{}, {"max_cost": 1}, {"price_per_hour": 1}, {"max_hours": True}, {"max_hours": "x"}]
)
def test_without_a_limit_there_is_no_deadline(budget):
    assert deadline(budget) is None


def whole(output):
    """The files of the folder, once each of them is seen to be whole."""
    found = sorted(output.glob("*.safetensors"))
    assert [inspect(path).problem for path in found] == [""] * len(found)
    return found


def test_the_runner_stops_a_run_that_has_spent_its_budget(shell):
    process = shell.launch(SIX_SECONDS, *LONG, **SLOW)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 9, err
    assert "budget.max_hours" in err
    said = shell.record()
    assert (said["state"], said["exit"]["stop"]) == ("failed", "budget.hours")
    assert said["diagnosis"]["causes"][0]["code"] == "budget.hours"
    assert whole(shell.run_dir / "output")
    wait_for(lambda: not shell.sentinels())


def test_a_killed_runner_takes_the_limit_not_with_it(shell):
    process = shell.launch(SIX_SECONDS, *LONG, **SLOW)
    trainer = identify(shell.wait_for_process())
    process.kill()
    process.wait()
    assert trainer.alive()
    begun = time.time()
    wait_for(lambda: shell.record().get("state") == "failed")
    assert time.time() - begun < 90
    assert not trainer.alive()
    said = shell.record()
    assert said["exit"]["stop"] == "budget.hours"
    assert said["timings"]["ended"] - said["timings"]["started"] >= 6
    kept = whole(shell.run_dir / "output")
    assert kept
    assert [c["file"] for c in said["checkpoints"]] == [path.name for path in kept]
    code, out, _ = shell.run("status", "quickstart")
    assert code == 9
    assert "budget.max_hours" in out
    wait_for(lambda: not shell.sentinels())


def test_a_killed_runner_takes_the_message_not_with_it(shell):
    with serving(200) as server:
        process = shell.launch(f"finish.notify={server.url}", KOHYA_PRACTICE_STEP_SECONDS="0.3")
        trainer = identify(shell.wait_for_process())
        process.kill()
        process.wait()
        wait_for(lambda: server.requests)
        assert not trainer.alive()
    said = body_of(server.requests[0])
    assert (said["state"], said["practice"], len(said["checkpoints"])) == ("succeeded", True, 2)
    wait_for(lambda: not shell.sentinels())
    assert [entry["action"] for entry in shell.record()["after"]] == ["notify"]
    assert len(server.requests) == 1


def test_a_launch_says_it_once_and_an_unreachable_receiver_changes_nothing(shell):
    with serving(500) as server:
        process = shell.launch(f"finish.notify={server.url}")
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    assert "not delivered: HTTP 500" in err
    wait_for(lambda: not shell.sentinels())
    assert [entry["action"] for entry in shell.record()["after"]] == ["notify"]


def test_a_failed_run_sends_its_diagnosis_and_keeps_its_exit_code(shell):
    with serving(200) as server:
        process = shell.launch(f"finish.notify={server.url}", "finish.stop_pod=true", KOHYA_PRACTICE_FAULT="oom@3")
        _, err = process.communicate(timeout=180)
        assert process.returncode == 8, err
    assert body_of(server.requests[0])["diagnosis"]["code"] == "out-of-vram"
    assert err.index("out-of-vram: the GPU's memory is full") < err.index("Traceback (innermost lines)")
    assert "practice: the pod is left alone" in err


def test_with_json_the_rest_is_told_on_stderr(shell):
    with serving(500) as server:
        words = ("launch", RECIPE, "--practice", "--json", "--set", f"finish.notify={server.url}")
        code, out, err = shell.run(*words)
    assert code == 0
    assert json.loads(out)["after"][0]["said"] == "notify (json): not delivered: HTTP 500"
    assert "not delivered: HTTP 500" in err


def test_a_run_without_limits_and_wishes_has_no_sentinel(shell):
    process = shell.launch()
    assert process.wait(180) == 0
    assert not (shell.run_dir / "sentinel.log").exists()


def test_an_adopted_run_is_stopped_at_its_limit_too(shell):
    process = shell.launch(SIX_SECONDS, *LONG, **SLOW)
    shell.wait_for_process()
    process.kill()
    process.wait()
    code, out, err = shell.run("status", "--adopt", "quickstart")
    assert code == 9, out + err
    assert shell.record()["exit"]["stop"] == "budget.hours"


def test_a_trainer_that_its_runner_could_not_write_down_is_found_and_stopped(odd_path):
    run_dir = odd_path / "runs" / "cat" / "001"
    run_dir.mkdir(parents=True)
    child = subprocess.Popen(
        (sys.executable, "-c", "import time; time.sleep(60)"), start_new_session=True,
        env={**os.environ, RUN: str(run_dir / "trainer.log")},
    )  # fmt: skip
    gone = ProcessId(pid=1, started=1, boot_id="another boot")
    begun = Record(
        run_id="001", name="cat", argv=(), cwd="/", final="cat.safetensors", log="trainer.log", output_dir="output",
        runner=gone, timings=Timings(queued=time.time()), budget={"max_hours": 1 / 3600},
    )  # fmt: skip
    record.write(run_dir, begun)
    (run_dir / "trainer.log").touch()
    sentinel.start(run_dir, begun, os.environ)
    assert child.wait(180) == -signal.SIGINT
    wait_for(lambda: ledger.view(run_dir).state == "failed")
    assert record.read(run_dir).exit.stop == "budget.hours"


def test_a_runner_that_lives_and_does_not_act_is_given_time_and_then_left_out(odd_path, monkeypatch):
    run_dir = odd_path / "runs" / "cat" / "001"
    (run_dir / "output").mkdir(parents=True)
    child = subprocess.Popen(("sleep", "60"), start_new_session=True)  # Python is not itself while it starts
    begun = Record(
        state="running", run_id="001", name="cat", argv=(), cwd="/", final="cat.safetensors", log="trainer.log",
        output_dir="output", runner=this_process(), process=identify(child.pid),
        timings=Timings(queued=1.0, started=1.0), budget={"max_hours": 1 / 3600},
    )  # fmt: skip
    record.write(run_dir, begun)
    watch = sentinel._Watch(run_dir)
    watch._read()
    assert sentinel.GRACE_SECONDS == 220
    monkeypatch.setattr(sentinel, "GRACE_SECONDS", 1e12)
    assert not watch._looked()
    assert child.poll() is None
    monkeypatch.setattr(sentinel, "GRACE_SECONDS", 0.0)
    assert not watch._looked()
    assert child.wait(180) == -signal.SIGINT
    assert record.read(run_dir) == begun


def test_a_second_sentinel_ends_at_once(odd_path):
    run_dir = odd_path / "runs" / "cat" / "001"
    run_dir.mkdir(parents=True)
    alive = Record(
        run_id="001",
        name="cat",
        argv=(),
        cwd="/",
        final="a",
        runner=this_process(),
        budget={"max_hours": 1},
    )
    record.write(run_dir, alive)
    words = (sys.executable, "-m", "kohya_runner.finish.sentinel", str(run_dir), str(odd_path))
    first = subprocess.Popen(words)
    wait_for((run_dir / ".sentinel").exists)
    time.sleep(0.5)
    assert subprocess.run(words, timeout=180, check=False).returncode == 0
    assert first.poll() is None
    record.write(run_dir, alive.changed(state="succeeded"))
    assert first.wait(180) == 0
