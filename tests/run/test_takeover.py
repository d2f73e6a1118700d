from __future__ import annotations

import os
import threading

import pytest
from onlookers import Lines
from practice_runs import wait_until

from kohya_runner.artefact.lora import inspect
from kohya_runner.errors import RunExistsError, UsageError
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.record import ledger, lock, record
from kohya_runner.record.process_identity import identify, state_of
from kohya_runner.run.stop_sequence import Grace
from kohya_runner.run.takeover import adopt_run, judge_ended, stop_run

GRACE = Grace(5, 5, 20)
LONG = {"max_train_epochs": 500}


@pytest.fixture
def orphan(practice):
    """Starts a run and kills its runner."""

    def start(fault="", step=0.05, **changes):
        runner = practice.supervised(fault, step, **changes)
        wait_until(practice.marker("stepping").exists)
        runner.kill()
        runner.wait()
        return ledger.view(practice.run_dir)

    return start


def test_an_adopted_run_gets_a_whole_record(orphan):
    screen = Lines()
    view = orphan(step=0.1)
    assert view.state == "orphaned"
    ended = adopt_run(view, screen, GRACE, AFTER_RUN)
    assert (ended.state, ended.steps_seen, ended.modules) == ("succeeded", 8, 8)
    assert [c.file for c in ended.checkpoints] == ["my cat-000001.safetensors", "my cat.safetensors"]
    assert "saving my cat.safetensors" in screen.lasting
    assert lock.read(view.path.parent) is None


def test_while_it_is_adopted_nobody_else_can_take_it(orphan):
    view = orphan(step=0.1)
    adopter = threading.Thread(target=adopt_run, args=(view, Lines(), GRACE, AFTER_RUN))
    adopter.start()
    wait_until(lambda: ledger.view(view.path).state == "running")
    with pytest.raises(RunExistsError):
        adopt_run(view, Lines(), GRACE, AFTER_RUN)
    adopter.join()
    assert ledger.view(view.path).state == "succeeded"


def test_a_run_that_is_watched_is_not_adopted(practice):
    runner = practice.supervised(step=0.1)
    with pytest.raises(UsageError, match="running"):
        adopt_run(ledger.view(practice.run_dir), Lines(), GRACE, AFTER_RUN)
    practice.outcome(runner)


def test_an_orphan_is_stopped_once_its_checkpoint_is_whole(practice, orphan):
    view = orphan("slow-save=1", step=0.1, **LONG)
    checkpoint = practice.output / "my cat-000001.safetensors"
    wait_until(checkpoint.exists)
    assert stop_run(view, GRACE).state == "stopped"
    assert inspect(checkpoint).complete
    assert state_of(practice.trainer) in ("", "Z")
    ended = record.read(view.path)
    assert [(c.file, c.complete) for c in ended.checkpoints] == [(checkpoint.name, True)]


def test_a_watched_run_is_stopped_through_its_runner(practice):
    runner = practice.supervised(**LONG)
    wait_until(practice.marker("stepping").exists)
    reaper = threading.Thread(target=runner.wait)
    reaper.start()
    stop_run(ledger.view(practice.run_dir), GRACE)
    reaper.join()
    assert practice.outcome(runner)["stopped"] == "SIGTERM"


def test_a_run_that_ended_alone_is_judged_by_what_it_left(practice, orphan):
    view = orphan(step=0.02)
    wait_until(lambda: not view.trainer.alive())
    settled = judge_ended(ledger.view(view.path))
    assert settled.state == "succeeded"
    assert record.read(view.path).modules == 8


def test_a_run_that_died_alone_is_lost(practice, orphan):
    view = orphan(**LONG)
    os.kill(practice.trainer, 9)
    wait_until(lambda: not view.trainer.alive())
    assert judge_ended(ledger.view(view.path)).state == "lost"
    assert record.read(view.path).state == "lost"


def test_a_run_that_goes_on_is_not_settled(practice, orphan):
    view = orphan(**LONG)
    assert judge_ended(view) is view
    assert identify(practice.trainer).alive()
