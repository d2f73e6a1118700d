from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Finished, Phase, Step
from kohya_runner.run import stop_request
from kohya_runner.run.stop_request import StopRequest, StopRequests, escalated


@pytest.fixture
def heard():
    """The signals that this process sent itself."""
    numbers = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def requests(odd_path):
    return StopRequests(SimpleNamespace(run_dir=odd_path, now=SimpleNamespace(attempt=2)))


def write(folder, when, asks=1, attempt=2):
    stop_request.write(folder, StopRequest(when, asks, time.time(), attempt))


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
def test_a_second_stop_request_is_harder(before, asked, after):
    found = escalated(StopRequest(*before) if before else None, asked, 5.0, 1)
    assert (found.when, found.asks, found.t) == (*after, 5.0)


def test_now_is_at_the_next_look(requests, heard, odd_path):
    requests.tick()
    assert heard == []
    write(odd_path, "now")
    requests.tick()
    requests.tick()
    assert heard == [signal.SIGTERM]
    write(odd_path, "now", asks=3)
    requests.tick()
    assert len(heard) == 3


def test_after_step_waits_for_the_end_of_the_step(requests, heard, odd_path):
    for event in (Phase("training"), step(1)):
        requests.event(event)
    write(odd_path, "after-step")
    requests.tick()
    requests.event(step(1))  # the bar, drawn again
    requests.tick()
    assert heard == []
    requests.event(step(2))
    requests.tick()
    assert heard == [signal.SIGTERM]


def test_after_step_waits_for_nothing_where_no_step_is_made(requests, heard, odd_path):
    requests.event(Phase("caching latents"))
    write(odd_path, "after-step")
    requests.tick()
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("after", [Epoch(2, 3), Phase("training"), Phase("making sample images"), Finished()])
def test_after_save_waits_for_the_next_whole_checkpoint_and_its_state(requests, heard, odd_path, after):
    for event in (Phase("training"), step(1), *SAVE, Epoch(2, 3), step(2)):
        requests.event(event)
    write(odd_path, "after-save")
    for event in (step(3), *SAVE, Phase("saving the state")):
        requests.event(event)
        requests.tick()
    assert heard == []
    requests.event(after)
    requests.tick()
    assert heard == [signal.SIGTERM]


def test_after_save_takes_the_save_that_is_going_on(requests, heard, odd_path):
    for event in (Phase("training"), step(1), *SAVE):
        requests.event(event)
    write(odd_path, "after-save")
    requests.tick()
    assert heard == []
    requests.event(Epoch(2, 3))
    requests.tick()
    assert heard == [signal.SIGTERM]


def test_a_stop_request_for_an_earlier_attempt_is_not_obeyed(requests, heard, odd_path):
    write(odd_path, "now", attempt=1)
    requests.tick()
    assert heard == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"when":"never","asks":1,"t":1}', '{"when":"now"}', "\xff"])
def test_a_file_that_says_nothing_is_no_stop_request(requests, heard, odd_path, text):
    (odd_path / "stop.json").write_text(text, encoding="latin-1")
    requests.tick()
    assert (heard, stop_request.read(odd_path)) == ([], None)
