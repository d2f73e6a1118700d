from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Finished, Phase, Step
from kohya_runner.run.stopping import stop_request
from kohya_runner.run.stopping.stop_request import StopRequest, StopRequests, harder


@pytest.fixture
def heard():
    """The signals that this process sent itself."""
    numbers = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def wishes(odd_path):
    timings = SimpleNamespace(started=time.time() - 10)
    return StopRequests(SimpleNamespace(run_dir=odd_path, now=SimpleNamespace(timings=timings)))


def leave(folder, when, asks=1, t=None):
    stop_request.leave(folder, StopRequest(when, asks, time.time() if t is None else t))


def step(number):
    return Step(number, 9, 1.0, 1.0, 1.0, 0.1)


SAVE = (Phase("saving a checkpoint"), CheckpointStarted(Path("a.safetensors")))


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        (None, "after-save", ("after-save", 1)),
        (("after-save", 1), "after-step", ("after-step", 1)),
        (("after-step", 1), "after-save", ("now", 1)),
        (("after-save", 1), "after-save", ("now", 1)),
        (("after-save", 1), "now", ("now", 1)),
        (("now", 1), "after-save", ("now", 2)),
        (("now", 2), "now", ("now", 3)),
    ],
)
def test_a_second_wish_is_harder(before, asked, after):
    found = harder(StopRequest(*before) if before else None, asked, 5.0)
    assert (found.when, found.asks, found.t) == (*after, 5.0)


def test_now_is_at_the_next_look(wishes, heard, odd_path):
    wishes.tick()
    assert heard == []
    leave(odd_path, "now")
    wishes.tick()
    wishes.tick()
    assert heard == [signal.SIGTERM]
    leave(odd_path, "now", asks=3)
    wishes.tick()
    assert len(heard) == 3


def test_after_step_waits_for_the_end_of_the_step(wishes, heard, odd_path):
    for event in (Phase("training"), step(1)):
        wishes.event(event)
    leave(odd_path, "after-step")
    wishes.tick()
    wishes.event(step(1))  # the bar, drawn again
    wishes.tick()
    assert heard == []
    wishes.event(step(2))
    wishes.tick()
    assert heard == [signal.SIGTERM]


def test_after_step_waits_for_nothing_where_no_step_is_made(wishes, heard, odd_path):
    wishes.event(Phase("caching latents"))
    leave(odd_path, "after-step")
    wishes.tick()
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("after", [Epoch(2, 3), Phase("training"), Phase("making sample images"), Finished()])
def test_after_save_waits_for_the_next_whole_checkpoint_and_its_state(wishes, heard, odd_path, after):
    for event in (Phase("training"), step(1), *SAVE, Epoch(2, 3), step(2)):
        wishes.event(event)
    leave(odd_path, "after-save")
    for event in (step(3), *SAVE, Phase("saving the state")):
        wishes.event(event)
        wishes.tick()
    assert heard == []
    wishes.event(after)
    wishes.tick()
    assert heard == [signal.SIGTERM]


def test_after_save_takes_the_save_that_is_going_on(wishes, heard, odd_path):
    for event in (Phase("training"), step(1), *SAVE):
        wishes.event(event)
    leave(odd_path, "after-save")
    wishes.tick()
    assert heard == []
    wishes.event(Epoch(2, 3))
    wishes.tick()
    assert heard == [signal.SIGTERM]


def test_a_wish_for_an_earlier_trainer_is_not_obeyed(wishes, heard, odd_path):
    leave(odd_path, "now", t=time.time() - 3600)
    wishes.tick()
    assert heard == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"when":"never","asks":1,"t":1}', '{"when":"now"}', "\xff"])
def test_a_file_that_says_nothing_is_no_wish(wishes, heard, odd_path, text):
    (odd_path / "stop.json").write_text(text, encoding="latin-1")
    wishes.tick()
    assert (heard, stop_request.read(odd_path)) == ([], None)
