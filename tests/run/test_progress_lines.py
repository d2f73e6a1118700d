from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Fact, ModulesMade, NoData, OtherBar, Phase, Step
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.run.observers import ProgressLines
from kohya_runner.text import duration


class Lines:
    def __init__(self) -> None:
        self.lasting: list[str] = []
        self.passing: list[str] = []

    def event(self, line: str, *, lasting: bool) -> None:
        (self.lasting if lasting else self.passing).append(line)


def test_what_the_trainer_does_becomes_lines():
    screen = Lines()
    teller = ProgressLines(screen)
    for event in (
        Phase("loading the model"), ModulesMade("U-Net", 192, enabled=False), ModulesMade("U-Net", 192, enabled=True),
        Fact("total", 40), Phase("training"), Epoch(1, 2), Phase("saving a checkpoint"),
        CheckpointStarted(Path("/x/a-000001.safetensors")), NoData(),
    ):  # fmt: skip
        teller.event(event)
    assert screen.lasting == [
        "loading the model", "192 LoRA modules for U-Net", "40 steps in all", "epoch 1/2",
        "saving a-000001.safetensors", "the trainer found no data",
    ]  # fmt: skip


def test_a_step_shows_loss_speed_and_what_is_left():
    screen = Lines()
    teller = ProgressLines(screen)
    teller.event(Epoch(2, 10))
    teller.event(Step(1020, 10150, 1.5, 1530.0, 13695.0, 0.1234))
    teller.event(Step(1021, 10150, None, None, None, float("nan")))
    assert screen.passing == [
        "epoch 2/10  step 1020/10150, loss 0.1234, 1.50 s/step, 3 h 48 min left",
        "epoch 2/10  step 1021/10150, loss nan",
    ]


def test_a_silent_phase_shows_that_time_passes():
    screen = Lines()
    teller = ProgressLines(screen)
    teller.event(Phase("caching latents"))
    teller.event(OtherBar("", 3, 203))
    teller.tick()
    assert screen.passing == ["caching latents 3/203, 0 s"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3723, "1 h 02 min")])
def test_a_duration_is_written_for_people(seconds, text):
    assert duration(seconds) == text


def test_the_last_lines_hold_the_last_state_of_a_bar(odd_path):
    log = odd_path / "x.log"
    log.write_bytes(b"one\r\nbar 1\rbar 2\rbar 3\n\ntwo \xff\nsteps 1\rsteps 2")
    assert last_lines(log, 3) == ["bar 3", "two \ufffd", "steps 2"]
    assert last_lines(log, 0)[0] == "one"
    assert last_lines(odd_path / "none", 5) == []
