"""Several machines, one run: what they tell each other, and how the end of one is the end of all. Real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_runner.engines.arguments import Command
from kohya_runner.errors import PreflightError, TrainingFailedError
from kohya_runner.machine.rendezvous import ALONE, Rendezvous
from kohya_runner.record.process_identity import identify
from kohya_runner.record.run_paths import RunPaths, node_file
from kohya_runner.run.nodes.station import WAIT, Station, WorldWatch
from kohya_runner.run.stop_sequence import RUN, end_left_over

TWO = Rendezvous(2, 0, None, "127.0.0.1", 29500, "a test")
LATE = {WAIT: "60"}
COMMAND = Command(("python", "train.py"), Path("/trainer"), {"A": "1"}, frozenset({"hub"}))
OTHER = """
import sys
from pathlib import Path
from kohya_runner.machine.rendezvous import Rendezvous
from kohya_runner.run.nodes.station import Station
from kohya_runner.errors import TrainingFailedError

with Station(Path(sys.argv[1]), Rendezvous(2, 1, None, "a", 1, "a test"), {"KOHYA_RUNNER_NODES_WAIT": "60"}) as station:
    if sys.argv[2] == "fails":
        raise TrainingFailedError("CUDA is gone")
    order = station.ordered()
    print(order.argv if order else None, flush=True)
    if sys.argv[2] == "fails later":
        station.say(code=8, why="out of memory")
    last = station.outlast()
    print(last.code, last.why)
"""


def other(folder: Path, what: str = "follows") -> subprocess.Popen[str]:
    return subprocess.Popen((sys.executable, "-c", OTHER, str(folder), what), stdout=subprocess.PIPE, text=True)


def test_the_others_start_what_the_first_orders_and_end_with_it(odd_path):
    follower = other(odd_path)
    with Station(odd_path, TWO, LATE) as lead:
        lead.begin(COMMAND, odd_path / "001" / "trainer.log", 2)
        assert lead.tick() is None
        lead.say(code=0, why="")
        lead.say(code=8, why="what follows a run is no end of it")
    assert follower.communicate(timeout=60)[0] == "('python', 'train.py')\n0 \n"


def test_a_launch_that_ends_before_the_training_ends_the_others(odd_path):
    follower = other(odd_path)
    with pytest.raises(PreflightError), Station(odd_path, TWO, LATE):
        raise PreflightError("no room")
    assert follower.communicate(timeout=60)[0] == "None\n4 no room\n"


def test_one_that_cannot_take_part_ends_the_first_with_its_cause(odd_path):
    follower = other(odd_path, "fails")
    with Station(odd_path, TWO, LATE) as lead:
        while not lead._seen or lead._seen[1].sign.code is None:
            time.sleep(0.05)
        with pytest.raises(TrainingFailedError, match=r"machine 1 \(.+\) ended: CUDA is gone"):
            lead.begin(COMMAND, odd_path / "log", 2)
    follower.wait(60)


def test_one_whose_trainer_fails_stops_the_first(odd_path):
    follower = other(odd_path, "fails later")
    with Station(odd_path, TWO, LATE) as lead:
        lead.begin(COMMAND, odd_path / "log", 2)
        (why,) = lead.last_words()
        stop = lead.tick()
        lead.say(code=8)
    assert why == stop.why
    assert stop.code == "node.ended"
    assert stop.why.endswith("ended: out of memory")
    follower.wait(60)


def test_a_workspace_that_is_not_shared_is_told_and_a_file_of_an_earlier_start_is_nobody(odd_path):
    stale = node_file(odd_path, 1)
    stale.parent.mkdir(parents=True)
    stale.write_text(json.dumps({"token": "earlier", "host": "gone", "beat": 7}))
    with (
        pytest.raises(PreflightError, match=r"machine 1 \(gone\) was not seen for 1 seconds") as told,
        Station(odd_path, TWO, {WAIT: "1"}) as lead,
    ):
        lead.begin(COMMAND, odd_path / "log", 2)
    assert "one folder that all machines see under one path" in told.value.hint
    with (
        pytest.raises(PreflightError, match="machine 0"),
        Station(odd_path / "not shared", replace(TWO, rank=1), {WAIT: "1"}) as alone,
    ):
        alone.ordered()


def test_one_that_falls_silent_is_lost(odd_path):
    follower = other(odd_path)
    with Station(odd_path, TWO, {WAIT: "3"}) as lead:
        lead.begin(COMMAND, odd_path / "log", 2)
        follower.kill()
        while (stop := lead.tick()) is None:
            time.sleep(0.05)
    assert stop.code == "node.lost"
    assert "has given no sign for" in stop.why


def test_alone_nothing_is_written_and_nobody_waited_for(odd_path, monkeypatch):
    monkeypatch.chdir(odd_path)
    station = Station(odd_path, ALONE, {})
    station.begin(COMMAND, odd_path / "log", 1)
    station.say(code=0)
    assert list(station.last_words()) == []
    assert station.tick() is None
    assert list(odd_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "stops"),
    [
        pytest.param(({"RANK": "0", "WORLD_SIZE": "2"}, {"RANK": "1", "WORLD_SIZE": "2"}), "", id="together"),
        pytest.param(({}, {}), "is 0 of 1, planned were 2", id="each by itself"),
        pytest.param(({"RANK": "0", "WORLD_SIZE": "4"},), "is 0 of 4, planned were 2", id="another number"),
    ],
)
def test_processes_that_do_not_train_together_are_stopped(odd_path, variables, stops):
    script, log = odd_path / "train.py", odd_path / "trainer.log"
    script.write_text("import time; time.sleep(600)")
    launcher = subprocess.Popen(
        (sys.executable, "-c", "import time; time.sleep(600)", str(script)), env={RUN: str(log)}
    )
    started = [subprocess.Popen((sys.executable, str(script)), env={RUN: str(log), **each}) for each in variables]
    try:
        watch = WorldWatch(Command((sys.executable, str(script)), odd_path, {}), log, ALONE, 2)
        watch.started(identify(launcher.pid))
        until = time.monotonic() + 60
        while watch._missing and (stop := watch.tick()) is None and time.monotonic() < until:
            time.sleep(0.05)
        assert (stop.code, True) == ("world.size", stops in stop.why) if stops else stop is None and not watch._missing
    finally:
        for process in (launcher, *started):
            process.kill()
            process.wait()


def test_what_an_earlier_attempt_left_is_ended_before_the_next_and_nothing_else(odd_path):
    def child(log: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"), env={RUN: str(log)})

    paths = RunPaths(odd_path / "001")
    left = child(paths.run_dir / "trainer-002.log")
    others = [child(paths.node_log(1, "trainer.log")), child(RunPaths(odd_path / "002").log)]
    try:
        end_left_over(paths.log)
        assert left.wait(60) == -9
        assert [one.poll() for one in others] == [None, None]
        end_left_over(paths.node_log(1, "trainer.log"))
        assert others[0].wait(60) == -9
    finally:
        for one in (left, *others):
            one.kill()
            one.wait()
