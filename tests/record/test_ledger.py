from __future__ import annotations

import os
import time

import pytest
from practice_runs import wait_until
from safetensors_files import lora

from kohya_runner.errors import UsageError
from kohya_runner.record import ledger, record
from kohya_runner.record.process_identity import ProcessId, this_process
from kohya_runner.record.record import Record, Timings
from kohya_runner.run.recorder import Recorder
from kohya_runner.run.stop_sequence import Grace
from kohya_runner.run.supervise import Watch, adopt

GONE = ProcessId(pid=1, started=1, boot_id="another boot")


def a_run(runs, name="cat", run_id="001", queued=1.0, **values):
    folder = runs / name / run_id
    (folder / "output").mkdir(parents=True)
    begun = {"state": "running", "runner": GONE, "process": GONE, "timings": Timings(queued=queued, started=queued)}
    record.write(
        folder, Record(run_id=run_id, name=name, argv=(), cwd="/", final="cat.safetensors", **{**begun, **values})
    )
    return folder


def test_a_run_with_a_live_runner_is_what_its_record_says(odd_path):
    assert ledger.view(a_run(odd_path, runner=this_process())).state == "running"


def test_a_live_trainer_without_its_runner_is_orphaned(odd_path):
    assert ledger.view(a_run(odd_path, process=this_process())).state == "orphaned"


def test_a_run_without_processes_and_with_its_file_succeeded(odd_path):
    folder = a_run(odd_path)
    lora(folder / "output" / "cat.safetensors")
    assert ledger.view(folder).state == "succeeded"


def test_a_run_without_processes_and_file_is_lost(odd_path):
    view = ledger.view(a_run(odd_path))
    assert (view.state, view.problem) == ("lost", "its runner is gone; cat.safetensors was not written")


def test_a_cut_file_is_no_success(odd_path):
    folder = a_run(odd_path)
    path = lora(folder / "output" / "cat.safetensors")
    os.truncate(path, path.stat().st_size - 1)
    assert ledger.view(folder).state == "lost"


def test_a_practice_file_is_no_success_of_a_real_run(odd_path):
    folder = a_run(odd_path)
    lora(folder / "output" / "cat.safetensors", metadata={"practice": "yes"})
    assert ledger.view(folder).state == "lost"


def test_a_run_that_never_started_is_lost(odd_path):
    view = ledger.view(a_run(odd_path, state="starting", process=None, timings=Timings(queued=1.0)))
    assert (view.state, view.problem) == ("lost", "its runner is gone; the trainer was never started")


def test_an_ended_run_is_what_its_record_says(odd_path):
    assert ledger.view(a_run(odd_path, state="failed")).state == "failed"


def test_runs_come_in_the_order_of_their_start(odd_path):
    for name, queued in (("b", 3.0), ("a", 2.0), ("c", 1.0)):
        a_run(odd_path, name=name, queued=queued)
    assert [view.name for view in ledger.runs(odd_path)] == ["c", "a", "b"]


def test_a_broken_record_does_not_hide_the_others(odd_path):
    a_run(odd_path)
    (a_run(odd_path, run_id="002") / "record.json").write_text("{", encoding="utf-8")
    assert {view.run_id: view.state for view in ledger.runs(odd_path)} == {"001": "lost", "002": "unreadable"}


def damaged(runs, *logs):
    folder = a_run(runs)
    for name in logs:
        (folder / name).touch()
    (folder / "record.json").write_text('{"version": 1, "state"', encoding="utf-8")
    return folder


def test_a_damaged_record_leaves_the_log_and_the_output_where_they_are(odd_path):
    folder = damaged(odd_path, "trainer.log", "runner.log")
    view = ledger.view(folder)
    assert (view.state, view.log, view.output_dir) == ("unreadable", folder / "trainer.log", folder / "output")


def test_a_damaged_record_of_a_resumed_run_leaves_the_log_of_the_last_attempt(odd_path):
    logs = ("trainer.log", "trainer-002.log", "trainer-010.log", "trainer-009.log", "trainer-last.log")
    assert ledger.view(folder := damaged(odd_path, *logs)).log == folder / "trainer-010.log"


def test_a_run_with_a_damaged_record_is_as_old_as_that_file(odd_path):
    old, new = damaged(odd_path), a_run(odd_path, run_id="002", queued=50.0)
    os.utime(old / "record.json", (100.0, 100.0))
    assert [view.path for view in ledger.runs(odd_path)] == [new, old]


@pytest.mark.parametrize(
    ("word", "path"),
    [
        (None, "dog/20260103"), ("cat", "cat/20260102"), ("20260101", "cat/20260101"), ("cat/20260101", "cat/20260101"),
        ("do", "dog/20260103"), ("20260102", "cat/20260102"),
    ],
)  # fmt: skip
def test_a_run_is_found_by_what_a_person_would_write(odd_path, word, path):
    for queued, place in enumerate(("cat/20260101", "cat/20260102", "dog/20260103")):
        name, _, run_id = place.partition("/")
        a_run(odd_path, name=name, run_id=run_id, queued=float(queued))
    assert ledger.find(odd_path, word).path == odd_path / path


def test_a_misspelt_name_is_answered_with_the_right_one(odd_path):
    a_run(odd_path, name="bespoke_baby")
    with pytest.raises(UsageError) as fault:
        ledger.find(odd_path, "bespok_bab")
    assert "did you mean 'bespoke_baby'" in fault.value.hint


def test_no_runs_at_all_is_said_so(odd_path):
    with pytest.raises(UsageError, match="no runs"):
        ledger.find(odd_path / "nowhere", None)


def test_a_killed_runner_leaves_an_orphan_that_is_adopted_to_a_whole_record(practice):
    runner = practice.supervised(step=0.1)
    wait_until(practice.marker("stepping").exists)
    runner.kill()
    runner.wait()
    view = ledger.view(practice.run_dir)
    assert view.state == "orphaned"
    recorder = Recorder(practice.run_dir, view.record.changed(runner=this_process()))
    assert ledger.view(practice.run_dir).state == "running"
    watch = Watch(practice.run_dir / "trainer.log", practice.output, (recorder,), grace=Grace(5, 5, 5))
    ended = recorder.finish(adopt(view.trainer, watch, since=time.time() - 5))
    assert (ended.state, ended.steps_seen, ended.modules) == ("succeeded", 8, 8)
    assert [c.file for c in ended.checkpoints] == ["my cat-000001.safetensors", "my cat.safetensors"]
    assert all(len(c.sha256) == 64 for c in ended.checkpoints)
    assert record.read(practice.run_dir) == ended
