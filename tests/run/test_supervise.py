from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from onlookers import Onlooker
from practice_runs import ROOT, wait_until

from kohya_runner.artefact.lora import inspect
from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Fact, Finished, ModulesMade, Step
from kohya_runner.engines.arguments import Command
from kohya_runner.errors import TrainerError
from kohya_runner.record.process_identity import identify, state_of
from kohya_runner.run.observers import Stop
from kohya_runner.run.stop_sequence import Grace, ProcessGroup
from kohya_runner.run.supervise import Watch, adopt, stop_group, supervise

pytestmark = pytest.mark.daily

LONG = {"max_train_epochs": 500}
DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def ended(pid):
    return state_of(pid) in ("", "Z", "X")


def watched(practice, **changes):
    """Watch a practice run in this process."""
    settings = {"log": practice.run_dir / "trainer.log", "output_dir": practice.output, "grace": Grace(5, 5, 20)}
    return Watch(**{**settings, **changes})


def test_a_run_is_followed_to_its_end(practice):
    onlooker = Onlooker()
    command = Command(practice.argv(), practice.run_dir, {})
    outcome = supervise(command, watched(practice, observers=(onlooker,)), environ=practice.environ())
    events = onlooker.events
    assert (outcome.returncode, outcome.signal, outcome.stopped, outcome.fault) == (0, None, "", None)
    assert outcome.peak_rss is not None
    assert outcome.peak_rss > 1 << 20
    assert Fact("total", 8) in events
    assert Epoch(2, 2) in events
    assert ModulesMade("U-Net", 6, enabled=True) in events
    assert [e.path.name for e in events if isinstance(e, CheckpointStarted)] == [
        "my cat-000001.safetensors",
        "my cat.safetensors",
    ]
    assert [e.step for e in events if isinstance(e, Step)][-1] == 8
    assert events[-1] == Finished()


def test_both_streams_end_up_in_the_log(practice):
    argv = (sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)")
    supervise(Command(argv, practice.run_dir, {}), watched(practice), environ=os.environ)
    assert sorted(practice.log().split()) == ["err", "out"]


def test_the_environment_of_the_command_goes_over_the_rest(practice):
    argv = (
        sys.executable,
        "-c",
        "import os; print(os.environ['A'], os.environ['TZ'], os.getenv('AWS_SECRET_ACCESS_KEY'))",
    )
    supervise(
        Command(argv, practice.run_dir, {"A": "a b"}),
        watched(practice),
        environ={"A": "x", "TZ": "y", "AWS_SECRET_ACCESS_KEY": "s"},
    )
    assert practice.log() == "a b y None\n"


def test_a_signal_that_ended_the_trainer_is_told(practice):
    argv = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    outcome = supervise(Command(argv, practice.run_dir, {}), watched(practice), environ=os.environ)
    assert (outcome.returncode, outcome.signal, outcome.stopped) == (-9, 9, "")


def test_a_program_that_is_not_there_is_a_trainer_error(practice):
    with pytest.raises(TrainerError, match="no such python"):
        supervise(Command(("no such python",), practice.run_dir, {}), watched(practice), environ=os.environ)


def test_a_callback_that_raises_does_not_touch_the_run(practice):
    broken, other = Onlooker(asks=lambda: 1 // 0), Onlooker()
    command = Command(practice.argv(), practice.run_dir, {})
    outcome = supervise(command, watched(practice, observers=(broken, other)), environ=practice.environ())
    assert other.events[-1] == Finished()
    assert outcome.returncode == 0
    assert isinstance(outcome.fault, ZeroDivisionError)


def test_an_observer_that_the_system_refused_once_is_called_again(practice):
    calls: list[int] = []

    def refused_once():
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")

    watch = watched(practice, observers=(Onlooker(asks=refused_once),))
    outcome = supervise(Command(practice.argv(), practice.run_dir, {}), watch, environ=practice.environ())
    assert isinstance(outcome.fault, OSError)
    assert len(calls) > 1


def test_a_reason_to_stop_stops(practice):
    command = Command(practice.argv(**LONG), practice.run_dir, {})
    dear = Stop("budget.cost", "too dear")
    onlooker = Onlooker(asks=lambda: dear if any(practice.output.iterdir()) else None)
    watch = watched(practice, observers=(onlooker,))
    outcome = supervise(command, watch, environ=practice.environ())
    assert (outcome.stop, outcome.stopped, outcome.signal) == (dear, "too dear", signal.SIGINT)


def test_ctrl_c_during_a_save_leaves_a_whole_checkpoint(practice):
    runner = practice.supervised("slow-save=1.5", step=0.2, **LONG)
    checkpoint = practice.output / "my cat-000001.safetensors"
    wait_until(checkpoint.exists)
    assert not inspect(checkpoint).complete
    runner.send_signal(signal.SIGINT)
    outcome = practice.outcome(runner)
    assert outcome["stopped"] == "SIGINT"
    assert inspect(checkpoint).complete
    assert ended(practice.trainer)
    assert [p.name for p in practice.output.iterdir()] == [checkpoint.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_being_ended_ends_the_trainer(practice, number):
    runner = practice.supervised(**LONG)
    wait_until(practice.marker("stepping").exists)
    runner.send_signal(number)
    outcome = practice.outcome(runner)
    assert (outcome["stopped"], outcome["signal"]) == (number.name, signal.SIGINT)
    assert ended(practice.trainer)


def test_a_second_ctrl_c_does_not_wait_for_the_first(practice):
    runner = practice.supervised("ignore-int", grace=(600.0, 600.0, 20.0), **LONG)
    wait_until(practice.marker("stepping").exists)
    runner.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert runner.poll() is None
    runner.send_signal(signal.SIGINT)
    assert practice.outcome(runner)["signal"] == signal.SIGTERM


def test_a_second_ctrl_c_waits_for_a_save_all_the_same(practice):
    runner = practice.supervised("slow-save=1.5", step=0.2, **LONG)
    checkpoint = practice.output / "my cat-000001.safetensors"
    wait_until(checkpoint.exists)
    runner.send_signal(signal.SIGINT)
    time.sleep(0.3)
    runner.send_signal(signal.SIGINT)
    assert practice.outcome(runner)["signal"] == signal.SIGTERM
    assert inspect(checkpoint).complete


def test_a_third_ctrl_c_kills_during_a_save(practice):
    runner = practice.supervised("slow-save=600", **LONG)
    wait_until((practice.output / "my cat-000001.safetensors").exists)
    for _ in range(3):
        runner.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert practice.outcome(runner)["signal"] == signal.SIGKILL


def test_a_save_that_never_ends_is_not_waited_for_forever(practice):
    runner = practice.supervised("slow-save=600", grace=(1.0, 1.0, 0.5), **LONG)
    wait_until((practice.output / "my cat-000001.safetensors").exists)
    runner.send_signal(signal.SIGTERM)
    assert practice.outcome(runner)["signal"] == signal.SIGINT


def test_a_trainer_deaf_to_int_and_term_is_killed(practice):
    runner = practice.supervised("ignore-int,ignore-term", grace=(0.3, 0.3, 20.0), **LONG)
    wait_until(practice.marker("stepping").exists)
    runner.send_signal(signal.SIGINT)
    assert practice.outcome(runner)["signal"] == signal.SIGKILL


@pytest.mark.parametrize("fault", ["fork", "detach"])
def test_nothing_outlives_the_trainer(practice, fault):
    outcome = practice.outcome(practice.supervised(fault, max_train_epochs=1))
    left = int(practice.log().partition("left behind: ")[2].split()[0])
    assert outcome["returncode"] == 0
    wait_until(lambda: ended(left))


def test_a_runner_under_nohup_goes_on_after_a_hangup(practice):
    runner = practice.supervised_argv(practice.argv(), practice.environ(step=0.1), prefix=("nohup",))
    wait_until(practice.marker("stepping").exists)
    runner.send_signal(signal.SIGHUP)
    assert practice.outcome(runner)["returncode"] == 0


def test_a_trainer_of_a_background_runner_still_hears_int(practice):
    ignoring = "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    prefix = (sys.executable, "-c", ignoring)
    runner = practice.supervised_argv(practice.argv(**LONG), practice.environ(), prefix=prefix)
    wait_until(practice.marker("stepping").exists)
    runner.send_signal(signal.SIGTERM)
    assert practice.outcome(runner)["signal"] == signal.SIGINT


def test_the_trainer_outlives_a_killed_runner_and_nothing_is_lost(practice):
    runner = practice.supervised(step=0.1)
    wait_until(practice.marker("stepping").exists)
    runner.kill()
    wait_until(lambda: ended(practice.trainer))
    assert "model saved." in practice.log()
    assert "| 8/8 [" in practice.log()
    assert inspect(practice.output / "my cat.safetensors").complete


def test_an_orphan_is_adopted_with_all_that_it_said(practice):
    runner = practice.supervised(step=0.1)
    wait_until(practice.marker("stepping").exists)
    leader = identify(practice.trainer)
    runner.kill()
    runner.wait()
    onlooker = Onlooker()
    outcome = adopt(leader, watched(practice, observers=(onlooker,)), since=time.time())
    events = onlooker.events
    assert (outcome.returncode, outcome.stopped) == (None, "")
    assert Fact("total", 8) in events
    assert events[-1] == Finished()


def test_an_orphan_is_stopped_with_its_checkpoint_whole(practice):
    runner = practice.supervised("slow-save=1,detach", step=0.2, **LONG)
    checkpoint = practice.output / "my cat-000001.safetensors"
    wait_until(checkpoint.exists)
    runner.kill()
    runner.wait()
    group = ProcessGroup(identify(practice.trainer), str(practice.run_dir / "trainer.log"))
    left = int(practice.log().partition("left behind: ")[2].split()[0])
    assert stop_group(group, practice.output, grace=Grace(5, 5, 20))
    assert inspect(checkpoint).complete
    assert ended(practice.trainer)
    wait_until(lambda: ended(left))


def test_an_adopted_trainer_that_stood_still_goes_on(practice):
    runner = practice.supervised(step=0.05)
    wait_until(practice.marker("stepping").exists)
    os.kill(practice.trainer, signal.SIGSTOP)
    runner.kill()
    runner.wait()
    adopt(identify(practice.trainer), watched(practice), since=time.time())
    assert "model saved." in practice.log()


def test_a_process_of_another_run_is_none_of_ours(practice, tmp_path):
    argv = (sys.executable, "-c", DEAF)
    other = practice.supervised_argv(argv, {**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: "deaf" in practice.log())
    watch = Watch(tmp_path / "trainer.log", tmp_path)
    supervise(Command((sys.executable, "-c", ""), Path(tmp_path), {}), watch, environ=os.environ)
    assert not ended(practice.trainer)
    assert other.poll() is None


def test_a_look_that_hangs_keeps_no_signal_from_being_obeyed(practice):
    """The read of a volume that does not answer: here a pipe that nobody writes to."""
    ours, _theirs = os.pipe()
    hung = []

    def asks():
        hung.append(os.getpid())
        os.read(ours, 1)

    command = Command(practice.argv(**LONG), practice.run_dir, {})
    watch = watched(practice, observers=(Onlooker(asks=asks),))
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kohya_runner.run.supervise.LAST_LOOK", 1.0)
        outcome = supervise(command, watch, environ=practice.environ(step=1))
    assert (outcome.stopped, len(hung)) == ("SIGINT", 1)
    assert time.monotonic() - begun < 120
