"""``kohya-runner cost``: a number stands beside the machine it came from, or it is "not known"."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from kohya_runner.machine.memory_savings import CardClass
from kohya_runner.machine.prices import Offer
from kohya_runner.plan.cost import Speed, TimePlan
from kohya_runner.plan.forecast import Rent
from kohya_runner.plan.offers import cost_rows
from kohya_runner.record import record
from kohya_runner.record.record import Record, Timings

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)
L4, H100 = "NVIDIA L4", "NVIDIA H100 80GB HBM3"
TIMES = {(L4,): TimePlan(100, Speed(30.0, 600.0, "lads/001")), (H100,): TimePlan(100, Speed(6.0, 300.0, "lads/002"))}
RENT = Rent((CardClass(16, "", 0, fits=True, lines=("x: 1",)), CardClass(24, "", 0, fits=True)), 1, TIMES)


def offer(card: str, price: float, gb: int | None = 24) -> Offer:
    return Offer(card, 1, price, "RunPod", NOW - timedelta(hours=2), gb)


def test_each_measured_machine_has_its_own_time_and_the_cheapest_run_comes_first():
    rows = cost_rows(RENT, [offer("L4", 0.5), offer(H100, 3.6)], NOW)
    assert [row.cells()[:4] for row in rows] == [
        (L4, "0.5", "1 h 00 min", "0.50"),
        (H100, "3.6", "15 min 00 s", "0.90"),
    ]
    assert rows[0].cells()[4] == "time of lads/001; price of RunPod, 2 h 00 min old"


def test_a_machine_without_a_price_has_no_cost_and_one_that_was_never_measured_no_time():
    rows = cost_rows(RENT, [offer("RTX4090", 0.7), offer("L4", 0.5)], NOW)
    assert [row.cells()[:4] for row in rows] == [
        (L4, "0.5", "1 h 00 min", "0.50"),
        (H100, "not known", "15 min 00 s", "not known"),
        ("RTX4090", "0.7", "not known", "not known"),
    ]
    assert rows[2].cells()[4].startswith("time: never measured on it; price of RunPod")
    assert rows[2].as_json()["seconds"] is None


@pytest.mark.parametrize("gb", [16, None])
def test_a_card_that_is_too_small_or_whose_memory_nobody_says_is_not_offered(gb):
    assert [row.machine for row in cost_rows(RENT, [offer("RTX4080", 0.3, gb)], NOW)] == [H100, L4]


def test_a_price_for_a_card_goes_before_one_for_any_machine():
    rows = cost_rows(RENT, [Offer("", 1, 9.0, "--price"), offer("L4", 0.5)], NOW)
    assert {(row.machine, row.offer.price) for row in rows} == {(L4, 0.5), (H100, 9.0)}


@pytest.fixture
def cost(planned, pictures, odd_path: Path):
    """Runs the command on a recipe with one measured run in the workspace."""
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    argv = planned("sd15_lora.yaml", images).command.argv
    run = odd_path / "ws" / "runs" / "sd15_lora" / "001"
    run.mkdir(parents=True)
    times = Timings(queued=1.0, started=1000.0, first_step=1060.0, ended=1260.0)
    kept = Record(state="succeeded", run_id="001", name="sd15_lora", argv=argv, cwd="/", final="a.safetensors",
                  timings=times, steps_seen=101, gpus=({"name": L4},))  # fmt: skip
    record.write(run, kept)

    def command(*words: str, **environ: str):
        recipe = Path(__file__).parents[2] / "recipes" / "sd15_lora.yaml"
        given = (str(recipe), f"--set={images}", f"--workspace={odd_path / 'ws'}", *words)
        environ = {"HOME": str(odd_path / "home"), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", **environ}
        argv = (sys.executable, "-m", "kohya_runner", "cost", *given)
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)

    return command


def test_the_command_tells_what_was_measured_at_the_price_that_is_given(cost):
    told = json.loads(cost("--price", "0.5", "--json").stdout)
    (machine,) = told["machines"]
    assert (machine["machine"], machine["measured_in"], machine["price_source"]) == (L4, "sd15_lora/001", "--price")
    assert machine["cost"] == pytest.approx((60 + told["steps"] * 2.0) / 3600 * 0.5)


def test_the_settings_may_hold_a_price(cost, odd_path):
    settings = odd_path / "home" / ".config" / "kohya-runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("prices: [NVIDIA L4=0.25, NVIDIA H100=2]\n", encoding="utf-8")
    text = cost().stdout
    assert L4 in text
    assert "0.25" in text
    assert "price of your settings" in text


def test_without_a_price_the_cost_is_not_known(cost):
    text = cost().stdout
    assert text.count("not known") == 2
    assert "time of sd15_lora/001" in text


def test_a_key_is_never_told(cost):
    ended = cost("--catalogue", "runpod", RUNPOD_API_KEY="rp-secret", KOHYA_RUNPOD_API="http://127.0.0.1:9/v2")
    assert ended.returncode == 4
    assert "RunPod's prices: " in ended.stderr
    assert "rp-secret" not in ended.stderr + ended.stdout


def test_a_wrong_recipe_is_told_as_plan_tells_it(cost):
    ended = cost("--set=args.network_dmi=3")
    assert ended.returncode == 3
    assert "network_dmi" in ended.stdout
