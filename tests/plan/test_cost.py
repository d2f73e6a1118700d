from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.plan.cost import Speed, TimePlan, speed_key, speeds
from kohya_runner.plan.report import plan_json, rows
from kohya_runner.record import ledger, record
from kohya_runner.record.record import Record, Timings

ARGV = ("/my env/bin/python", "/sd 'x'/sdxl_train_network.py", "--resolution=1024", "--train_batch_size=2",
        "--learning_rate=1e-4", "--network_args", "conv_dim=8", "--output_dir=/w/runs/lads/001/output")  # fmt: skip
GPU = "NVIDIA L4"


@pytest.fixture
def done(odd_path: Path):
    """Puts a run on record: 101 steps in 200 s after a minute of loading."""

    def make(run_id: str = "001", **other: object) -> None:
        times = Timings(queued=float(run_id), started=1000.0, first_step=1060.0, ended=1260.0, seconds_per_step=1.5)
        facts = {
            "state": "succeeded", "run_id": run_id, "name": "lads", "argv": ARGV, "cwd": "/",
            "final": "lads.safetensors", "timings": times, "steps_seen": 101, "gpus": ({"name": GPU},),
        }  # fmt: skip
        folder = odd_path / "lads" / run_id
        folder.mkdir(parents=True)
        record.write(folder, Record(**(facts | other)))

    return make


def _measured(folder: Path, argv: tuple[str, ...] = ARGV, gpus: tuple[str, ...] = (GPU,), name: str = "lads"):
    return speeds(ledger.runs(folder), name=name, argv=argv).get(tuple(sorted(gpus)))


def test_a_whole_run_is_measured_with_its_saves(done, odd_path):
    done()
    assert _measured(odd_path) == Speed(2.0, 60.0, "lads/001")


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_of_a_run_that_was_cut_short_the_last_shown_speed_counts(done, odd_path, state):
    done(state=state)
    assert _measured(odd_path).seconds_per_step == 1.5


def test_of_a_resumed_run_the_shown_speed_counts(done, odd_path):
    done(argv=(*ARGV, "--resume=/w/state"))
    assert _measured(odd_path).seconds_per_step == 1.5


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"practice": True}, id="a practice run"),
        pytest.param({"name": "others"}, id="another recipe"),
        pytest.param({"gpus": ({"name": "NVIDIA H100"},)}, id="another GPU"),
        pytest.param({"gpus": ({"name": GPU}, {"name": GPU})}, id="two GPUs"),
        pytest.param({"argv": (*ARGV, "--network_dim=64")}, id="another option"),
        pytest.param({"argv": ("python", "-m", "accelerate", "--num_processes=2", *ARGV[1:])}, id="two processes"),
        pytest.param({"timings": Timings(started=1.0)}, id="no step"),
        pytest.param({"state": "failed", "steps_seen": 3}, id="too few steps"),
    ],
)
def test_no_speed_is_taken_from(done, odd_path, other):
    done(**other)
    assert _measured(odd_path) is None


def test_without_runs_there_is_no_speed(odd_path):
    assert _measured(odd_path) is None


def test_the_latest_run_that_tells_a_speed_counts(done, odd_path):
    done("001")
    done("002", timings=Timings(queued=2.0, started=0.0, first_step=10.0, ended=310.0))
    done("003", timings=Timings(queued=3.0, started=0.0))
    assert _measured(odd_path) == Speed(3.0, 10.0, "lads/002")


def test_a_broken_record_is_passed_over(done, odd_path):
    done()
    (odd_path / "lads" / "002").mkdir()
    (odd_path / "lads" / "002" / "record.json").write_text("{")
    assert _measured(odd_path) is not None


def test_options_without_effect_on_the_speed_may_differ():
    other = (*ARGV[:4], "--learning_rate=3e-5", "--save_every_n_epochs=1", "--max_train_epochs=3", *ARGV[5:7],
             "--output_dir=/w/runs/lads/002/output", "--seed=7")  # fmt: skip
    assert speed_key(other) == speed_key(ARGV)


def test_the_order_of_options_is_no_difference_but_their_values_are():
    moved = (*ARGV[:2], ARGV[3], ARGV[2], *ARGV[4:])
    changed = tuple("conv_dim=16" if token == "conv_dim=8" else token for token in ARGV)
    assert speed_key(moved) == speed_key(ARGV)
    assert speed_key(changed) != speed_key(ARGV)


def test_another_python_or_checkout_is_the_same_run():
    assert speed_key(("/usr/bin/python3", "/elsewhere/sdxl_train_network.py", *ARGV[2:])) == speed_key(ARGV)


def test_time_and_cost_come_from_steps_speed_and_price():
    plan = TimePlan(1770, Speed(2.0, 60.0, "lads/001"), 0.5)
    assert (plan.seconds, plan.cost) == (3600.0, 0.5)
    row = "about 1 h 00 min, costs about 0.50 at 0.5 an hour   (1770 steps, 2.00 s a step, measured in lads/001)"
    assert str(plan) == row


def test_without_a_speed_nothing_is_made_up():
    plan = TimePlan(1770, None, 0.5)
    assert (plan.seconds, plan.cost, plan.as_json()["seconds"]) == (None, None, None)
    assert "no time estimate yet" in str(plan)


def test_without_a_price_there_is_a_time_and_no_cost():
    plan = TimePlan(100, Speed(1.0, 0.0, "lads/001"))
    assert (plan.seconds, plan.cost, "cost" in str(plan)) == (100.0, None, False)


def test_a_rehearsal_is_measured_wherever_its_samples_were_painted(done, odd_path):
    done(rehearsal=True, argv=(*ARGV, "--sample_every_n_epochs=1", "--max_train_steps=20"))
    assert _measured(odd_path) == Speed(1.5, 60.0, "rehearsal lads/001")
    assert _measured(odd_path, argv=(*ARGV, "--sample_every_n_steps=50")).seconds_per_step == 1.5
    assert _measured(odd_path, argv=(*ARGV, "--network_dim=64")) is None


def test_a_rehearsal_that_failed_measured_nothing(done, odd_path):
    done(rehearsal=True, state="failed")
    assert _measured(odd_path) is None


def test_a_plan_for_elsewhere_tells_each_time_with_its_machine(planned, pictures, odd_path):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    price = "budget={price_per_hour: 0.5}"
    argv = planned("sd15_lora.yaml", images).command.argv
    times = Timings(queued=1.0, started=1000.0, first_step=1060.0, ended=1260.0)
    run = odd_path / "ws" / "runs" / "sd15_lora" / "001"
    run.mkdir(parents=True)
    kept = Record(state="succeeded", run_id="001", name="sd15_lora", argv=argv, cwd="/", final="a.safetensors",
                  timings=times, steps_seen=101, gpus=({"name": GPU}, {"name": GPU}))  # fmt: skip
    record.write(run, kept)
    plan = planned("sd15_lora.yaml", images, price)
    (told,) = plan_json(plan)["rent"]["times"]
    assert (told["gpus"], told["seconds_per_step"], told["measured_in"]) == ([GPU, GPU], 2.0, "sd15_lora/001")
    assert told["cost"] == pytest.approx((60 + told["steps"] * 2.0) / 3600 * 0.5)
    assert dict(rows(plan))["time"].startswith(f"on 2 x {GPU}: about ")
    assert plan_json(plan)["time"]["seconds"] is None
