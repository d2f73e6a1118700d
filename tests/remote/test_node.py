"""What every machine of an engine runs (node.sh), by bash on this one, with the stand-in for the trainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from practice_runs import wait_until

from kohya_runner.remote import engine, sums

pytestmark = [pytest.mark.daily, pytest.mark.usefixtures("quick_node")]
LONG = "--set=args.max_train_epochs=400"


class Node:
    """One machine: its disk is a folder."""

    def __init__(self, root, job, **variables):
        self.stay, self.job = root / "stays" / "kr tiny", job
        self.environ = {**os.environ, **engine.node_environment(job, str(self.stay), str(root), **variables)}
        self.run_dir = self.stay / engine.run_there(job.name)
        self.child = None

    def start(self, **more):
        with engine.parcel(self.job) as file:
            there = self.stay.parent.parent / "sent file.tar"
            there.parent.mkdir(parents=True, exist_ok=True)
            file.rename(there)
        script = engine.node_script(self.job, f"'{there}'")
        environ = {**self.environ, **more}
        self.child = subprocess.Popen(["bash", "-c", script], env=environ, start_new_session=True)
        return self

    def end(self):
        return self.child.wait(300)

    def pid(self, who):
        path = self.run_dir / "record.json"
        return (json.loads(path.read_text(encoding="utf-8"))[who] or {}).get("pid") if path.exists() else None

    def text(self, name):
        path = self.stay / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture
def node(tmp_path, make_job):
    made = []

    def make(options=("--practice",), **variables):
        made.append(Node(tmp_path / "disk", make_job(options=options), **variables))
        return made[-1]

    yield make
    for one in made:
        if one.child and one.child.poll() is None:
            os.killpg(one.child.pid, signal.SIGKILL)


def test_a_run_ends_with_results_sums_and_its_code(node):
    one = node().start()
    assert one.end() == 0
    assert one.text("exit-code").strip() == "0"
    assert json.loads((one.run_dir / "record.json").read_text())["state"] == "succeeded"
    (one.run_dir / sums.RunPaths(one.run_dir).sums.name).write_text(one.text("sha256sums.json"))
    assert not list(sums.wrong(one.run_dir))
    assert (one.stay / "cache").resolve() == (one.stay.parent.parent / "cache")
    assert "runner" not in {path.name for path in one.stay.parent.parent.iterdir()}

    said = one.text("launch.log")
    assert one.start().end() == 0
    assert one.text("launch.log") == said  # it was done: nothing was started again


def test_a_wrong_recipe_is_final(node):
    one = node(("--practice", "--set=args.max_train_epoch=3")).start()
    assert one.end() == 3
    assert one.text(".final").strip() == "3"


def test_a_stop_request_is_carried_out_and_counts_as_the_end(node):
    one = node(("--practice", LONG)).start()
    wait_until(lambda: list(one.run_dir.glob("output/*.safetensors")))
    (one.stay / "stop-after-save").touch()
    assert one.end() == 143
    assert (one.stay / "stop-after-save.done").exists()
    assert one.text(".final").strip() == "143"


def test_a_machine_that_is_taken_away_is_no_end_and_the_next_one_goes_on(node):
    one = node(("--practice", LONG)).start()
    wait_until(lambda: list(one.run_dir.glob("output/*-state")))
    one.child.terminate()
    assert one.end() == 143
    assert not (one.stay / ".final").exists()
    one.start()
    wait_until((one.run_dir / "trainer-002.log").exists)
    (one.stay / "stop-now").touch()
    assert one.end() == 143
    assert (one.stay / ".final").exists()
    assert len(list(one.stay.glob("runs/tiny/0*"))) == 1


def test_another_start_is_asked_for_so_often_where_the_machine_killed_the_run(node):
    one, gone = node(("--practice", LONG), again=1), []
    for expected in (75, 137):
        one.start()
        for who in ("runner", "process"):  # a machine that goes takes both
            gone.append(wait_until(lambda who=who: one.pid(who) not in (*gone, None) and one.pid(who)))
        for pid in gone[-2:]:
            os.kill(pid, signal.SIGKILL)
        assert one.end() == expected
    assert one.text(".final").strip() == "137"
    assert [path.name for path in one.run_dir.parent.iterdir() if path.name.isdigit()] == ["001"]


def test_the_hours_count_from_the_first_start(node):
    one = node(hours=0.5)
    one.stay.mkdir(parents=True)
    (one.stay / "began").write_text("1000000000\n")
    assert one.start().end() == 143
    assert not one.run_dir.exists()
