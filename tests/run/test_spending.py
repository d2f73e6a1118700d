"""What each paid minute of a run went to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.diagnosis.progress import PAID_FOR, PHASES
from kohya_runner.record import attempts, record
from kohya_runner.record.attempts import Attempt
from kohya_runner.record.metrics_file import read
from kohya_runner.record.record import Record, Timings
from kohya_runner.run.launch import _told
from kohya_runner.run.spending import ORDER, spending
from kohya_runner.show import run_screen

T = 1_000_000.0
LINES = (
    {"t": T + 20, "phase": "starting"},
    {"t": T + 30, "phase": "loading the model"},
    {"t": T + 50, "phase": "caching latents"},
    {"t": T + 90, "phase": "building the network"},
    {"t": T + 100, "phase": "training"},
    {"t": T + 101, "begins": 1, "of": 1},
    {"t": T + 110, "step": 1, "loss": 0.1, "seconds_per_step": 10, "elapsed": 10},
    {"t": T + 120, "step": 2, "loss": 0.1, "seconds_per_step": 10, "elapsed": 20},
    {"t": T + 720, "step": 3, "loss": 0.1, "seconds_per_step": 10, "elapsed": 620},
    {"t": T + 730, "phase": "making sample images"},
    {"t": T + 760, "phase": "training"},
    {"t": T + 770, "step": 4, "loss": 0.1, "seconds_per_step": 10, "elapsed": 670},
    {"t": T + 780, "phase": "saving a checkpoint"},
)
WHOLE = {"set-up": 100 + 13 + 10, "download": 20 + 7, "caching": 40, "building the network": 30, "training": 50,
         "saving": 5, "painting": 30, "idle": 600}  # fmt: skip


@pytest.fixture
def run(odd_path: Path):
    """Puts a run on the disk: two minutes before the launch, a download in it, a silence of ten minutes."""

    def make(*lines: dict, **other: object) -> Record:
        times = Timings(
            began=T - 120, installed=T - 20, queued=T, fetching=7.0, started=T + 20, first_step=T + 110, ended=T + 785
        )
        recipe = {"budget": {"price_per_hour": {"value": 3.6, "source": "r.yaml:1:1"}}}
        facts = {"state": "succeeded", "run_id": "001", "name": "lads", "argv": (), "cwd": "/",
                 "final": "a.safetensors", "timings": times, "recipe": recipe}  # fmt: skip
        made = Record(**(facts | other))
        odd_path.mkdir(exist_ok=True)
        record.write(odd_path, made)
        text = "".join(json.dumps(line) + "\n" for line in lines or LINES)
        (odd_path / "metrics.jsonl").write_text(text, encoding="utf-8")
        return made

    return make


def spent(folder: Path, made: Record, state: str = "succeeded", now: float | None = None):
    return spending(folder, made, read(folder), state=state, now=now)


def test_every_minute_is_named_and_none_is_lost(run, odd_path):
    found = spent(odd_path, run())
    assert dict(found.seconds) == WHOLE
    assert found.total == 785 + 120
    assert found.share == pytest.approx(50 / 905)


def test_with_a_price_it_is_money(run, odd_path):
    rows = dict(spent(odd_path, run()).rows())
    assert rows["spent"] == "15 min 05 s, 0.91; 6% of it was training"
    assert "idle 10 min 00 s, 0.60" in rows["spent on"]
    assert spent(odd_path, run()).as_json()["cost"]["training"] == pytest.approx(0.05)


def test_without_a_price_there_is_no_money(run, odd_path):
    found = spent(odd_path, run(recipe={}))
    assert found.as_json()["cost"] is None
    assert dict(found.rows())["spent"] == "15 min 05 s; 6% of it was training"


def test_a_run_that_goes_on_is_counted_until_now(run, odd_path):
    made = run(state="running", timings=Timings(queued=T, started=T + 20))
    assert spent(odd_path, made, state="running", now=T + 800).total == 800


def test_the_comparison_paints_and_the_wait_for_the_pod_is_idle(run, odd_path):
    after = ({"action": "compare", "at": T + 885, "said": ""}, {"action": "pod.asked", "at": T + 1785, "said": ""})
    found = spent(odd_path, run(after=after))
    assert found.seconds["painting"] == WHOLE["painting"] + 100
    assert found.seconds["idle"] == WHOLE["idle"] + 900


def test_between_two_attempts_nobody_knows_whether_it_was_paid(run, odd_path):
    made = run(*LINES, {"t": T + 5010, "phase": "starting"}, {"t": T + 5020, "phase": "training"},
               attempt=2, timings=Timings(queued=T + 5000, started=T + 5005, ended=T + 5080))  # fmt: skip
    for number, queued, ended in ((1, T, T + 785), (2, T + 5000, None)):
        attempts.add(
            odd_path, Attempt(number=number, world_size=1, steps_per_epoch=4, log="l", queued=queued, ended=ended)
        )
    found = spent(odd_path, made)
    assert found.total == 785 + 80
    assert found.seconds["training"] == 50 + 60


def test_clocks_that_cannot_be_right_are_not_counted(run, odd_path):
    times = Timings(began=T + 9, installed=T + 5, queued=T, started=T + 20, ended=T + 785)
    assert spent(odd_path, run(timings=times)).total == 785


def test_phases_that_cost_minutes_are_those_that_the_log_reader_knows():
    assert PAID_FOR.keys() <= set(PHASES.values())
    assert set(PAID_FOR.values()) <= set(ORDER)


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "²"])
def test_what_is_no_time_of_the_script_is_passed_over(text):
    assert _told({"KOHYA_RUNNER_BEGAN": text, "KOHYA_RUNNER_INSTALLED": "1700000000"}) == {"installed": 1_700_000_000.0}


def test_status_says_it(run, odd_path, capsys):
    from kohya_runner.record import ledger

    run()
    run_screen.status(ledger.view(odd_path), as_json=False)
    assert "spent on   set-up 2 min 03 s, 0.12; download 27 s" in capsys.readouterr().out
    run_screen.status(ledger.view(odd_path), as_json=True)
    assert json.loads(capsys.readouterr().out)["spending"]["seconds"] == WHOLE
