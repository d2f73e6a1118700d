from __future__ import annotations

from types import SimpleNamespace

import pytest

from kohya_runner.record.record import Record, Timings
from kohya_runner.sweep.purse import Purse, due, save_steps, slowest


def look(step, pace=1.0):
    return SimpleNamespace(step=step, seconds_per_step=pace)


@pytest.mark.parametrize(
    ("step", "left", "when"),
    [
        (10, 1000.0, None),
        (10, 189.9, "after-save"),  # the save after 100 is paid for, the one after 200 is not
        (10, 90.0, "after-save"),
        (10, 89.9, "after-step"),  # nothing more will be saved
        (210, 90.0, None),  # only the last one is ahead
        (210, 89.0, "after-step"),
        (1, 5.0, None),  # no pace yet
        (300, 0.0, None),
    ],
)
def test_the_last_thing_that_is_done_is_a_save_that_is_paid_for(step, left, when):
    assert due(look(step), (100, 200, 300), left) == when


def test_without_a_pace_nothing_is_known():
    assert due(look(10, None), (100,), 1.0) is None


def test_the_smaller_limit_counts():
    assert Purse(2.0, 1.0, None).seconds == 1800
    assert Purse(2.0, 1.0, 0.1).seconds == 360
    assert Purse(None, None, 0.5).seconds == 1800
    assert Purse(2.0).seconds is None
    assert Purse(2.0).said(1800) == "30 min 00 s (1.00)"


def test_saves_are_counted_in_steps():
    events = (("step", 3, False), ("epoch", 1, False), ("epoch", 2, False), ("step", 3, True), ("end", 0, False))
    saves = SimpleNamespace(events=[SimpleNamespace(after=a, number=n, removed=r) for a, n, r in events])
    assert save_steps(SimpleNamespace(steps_per_epoch=5, total=12, saves=saves)) == (3, 5, 10, 12)


def recorded(name, **changes):
    made = Record(run_id="001", name=name, state="succeeded", argv=(), cwd="", final="", log="", output_dir="",
                  steps_seen=101, timings=Timings(queued=0.0, started=5.0, first_step=10.0, ended=110.0))  # fmt: skip
    return made.changed(**changes)


def test_the_forecast_is_by_the_slowest_run_of_the_sweep():
    slow = Timings(queued=0.0, started=5.0, first_step=30.0, ended=230.0)
    failed = recorded("c", state="failed", timings=Timings(queued=0.0, started=5.0, first_step=10.0, ended=9000.0))
    found = slowest([recorded("a"), recorded("b", timings=slow), failed])
    assert (found.seconds_per_step, found.setup, found.run) == (2.0, 30.0, "b")
    assert slowest([failed]) is None
    stopped = Timings(queued=0.0, started=5.0, first_step=10.0, ended=9000.0, seconds_per_step=3.0)
    assert slowest([recorded("a"), recorded("d", state="stopped", timings=stopped)]).seconds_per_step == 3.0
