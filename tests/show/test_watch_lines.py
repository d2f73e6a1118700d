from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from reported_runs import NASTY, alive, measured, recorded

from kohya_runner.record import record
from kohya_runner.record.metrics_file import Appender
from kohya_runner.run import run_status, stop_request
from kohya_runner.run.run_status import StatusReader
from kohya_runner.show import run_page, run_screen, watch_lines


@pytest.fixture
def run_dir(odd_path):
    folder = odd_path / "runs" / "my cat" / "001"
    alive(folder)
    measured(folder)
    bar = "\rsteps:  21%|##        | 421/2000 [07:00<27:00,  1.05s/it, avr_loss=0.0832]"
    (folder / "trainer.log").write_text(f"hello \x1b[2J\x07 {NASTY}\n{bar}", encoding="utf-8")
    return folder


def texts(look, width, height):
    return ["".join(text for _, text in line) for line in watch_lines.screen(look, width, height)]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (40, 12), (300, 100), (20, 5)])
def test_the_screen_has_the_height_of_the_terminal_and_says_the_most_important_first(run_dir, width, height):
    lines = texts(StatusReader(run_dir).look(), width, height)
    assert len(lines) == height
    assert lines[0].startswith("my cat/001  running")
    assert "step 999/2000" in lines[2]
    assert "loss" in lines[3]
    assert lines[-1].startswith("q leaves the run alone")


def test_the_curve_the_checkpoints_the_findings_and_the_log_are_there(run_dir):
    text = "\n".join(texts(StatusReader(run_dir).look(), 140, 40))
    for wanted in ("epoch 1", "8 checkpoints", "cat-000009.safetensors", "disk.low", "hello", "0.07 spent so far, "):
        assert wanted in text, wanted
    assert any(0x2800 < ord(sign) < 0x2900 for sign in text)


def test_nothing_that_a_terminal_would_obey_is_shown(run_dir):
    look = StatusReader(run_dir).look()
    shown = "\n".join(texts(look, 200, 60)) + watch_lines.line(look)
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_stop_request_to_stop_is_shown(run_dir):
    stop_request.write(run_dir, stop_request.StopRequest("after-save", 1, 1e9))
    assert "after the next save" in "\n".join(texts(StatusReader(run_dir).look(), 80, 24))


def test_a_run_of_another_machine_is_watched_by_the_time_of_its_files(run_dir, monkeypatch):
    before = {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    monkeypatch.setattr(run_status, "boot_id", lambda: "another-boot")
    look = StatusReader(run_dir).look()
    assert (look.state, look.elsewhere) == ("running", True)
    assert "running on another machine" in texts(look, 80, 24)[0]
    monkeypatch.setattr(run_status, "SILENT", -1.0)
    look = StatusReader(run_dir).look()
    assert look.state == "silent"
    assert "no sign of life for" in "\n".join(texts(look, 80, 24))
    assert {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before


def test_a_run_without_anything_but_a_record_is_shown(odd_path):
    folder = odd_path / "runs" / "my cat" / "002"
    alive(folder)
    lines = texts(StatusReader(folder).look(), 80, 24)
    assert "starting the trainer" in lines[1]


def test_json_holds_no_number_that_json_has_not(odd_path):
    import json

    folder = odd_path / "runs" / "my cat" / "003"
    recorded(folder)
    measured(folder, nan_from=100)
    said = watch_lines.as_json(StatusReader(folder).look())
    assert json.loads(json.dumps(said, allow_nan=False))["loss"] == "nan"


CACHED = "caching latents.\ncaching latents: 100%|###| 12/12 [00:02<00:00,  5.9it/s]\n"
LOADING = "loading model for process 0/1\n"


def in_phase(run_dir, name, log):
    alive(run_dir)
    now = time.time()
    Appender(run_dir / "metrics.jsonl").add({"t": now - 60, "phase": name})
    (run_dir / "trainer.log").write_text(log, encoding="utf-8")
    return run_dir


@pytest.mark.parametrize(
    ("log", "phase", "shown"),
    [
        (CACHED, "caching latents", "caching latents 12/12, 1 min"),
        (CACHED + LOADING, "loading the model", "loading the model, 1 min"),
        (LOADING + CACHED, "caching latents", "caching latents 12/12, 1 min"),
    ],
)
def test_a_bar_of_another_phase_is_not_shown(odd_path, log, phase, shown):
    look = StatusReader(in_phase(odd_path / "runs" / "my cat" / "004", phase, log)).look()
    assert watch_lines.phase(look).startswith(shown)


def test_where_nobody_watches_the_phase_is_the_one_that_the_log_began_last(odd_path):
    folder = in_phase(odd_path / "runs" / "my cat" / "004", "caching latents", CACHED + LOADING)
    gone = replace(record.read(folder).runner, started=1)
    record.write(folder, record.read(folder).changed(runner=gone))
    look = StatusReader(folder).look()
    assert (look.state, look.phase, look.work) == ("orphaned", "loading the model", "")


def quiet_for(folder, seconds):
    os.utime(folder / "trainer.log", (time.time() - seconds,) * 2)
    return watch_lines.quiet(StatusReader(folder).look())


def test_a_phase_that_is_quiet_for_long_says_so_and_what_it_took_before_where_that_is_known(odd_path):
    name = odd_path / "runs" / "my cat"
    folder = in_phase(name / "004", "caching latents", CACHED)
    assert quiet_for(folder, 60) == ""
    assert quiet_for(folder, 720) == "no line for 12 min 00 s while caching latents"
    recorded(name / "003")
    measured(name / "003")
    assert quiet_for(folder, 720) == ("no line for 12 min 00 s while caching latents: it took 15 s in the run before")


def test_a_pause_between_steps_is_measured_by_their_pace(run_dir):
    Appender(run_dir / "metrics.jsonl").add({"t": time.time(), "phase": "training"})
    assert quiet_for(run_dir, 100) == ""
    assert quiet_for(run_dir, 300) == "no line for 5 min 00 s while training: usual is a step every 1 s"


def test_practice_is_said_to_the_end_and_what_to_do_next(odd_path):
    folder = odd_path / "runs" / "my cat" / "005"
    recorded(folder, practice=True)
    look = StatusReader(folder).look()
    assert watch_lines.line(look).startswith("PRACTICE succeeded")
    said = ["".join(text for _, text in line) for line in watch_lines.farewell(look)]
    assert said[0] == "my cat/005  succeeded  PRACTICE"
    assert said[-1] == "next: kohya-runner report 'my cat/005'"
    recorded(folder)
    said = watch_lines.farewell(StatusReader(folder).look())
    assert said[-1][0][1] == "next: kohya-runner compare 'my cat/005'"


@pytest.mark.parametrize(("workspace", "more"), [(None, ""), ("/my ws", " --workspace '/my ws'")])
def test_the_end_of_a_launch_names_the_next_command(odd_path, capsys, workspace, more):
    folder = odd_path / "runs" / "cat" / "001"
    recorded(folder)
    plan = SimpleNamespace(
        workspace=SimpleNamespace(runs=odd_path / "runs"), request=SimpleNamespace(workspace=workspace)
    )
    run_screen.finished(record.read(folder), plan, as_json=False)
    told = capsys.readouterr().err.splitlines()
    assert told == ["done: cat/001, 1000 steps", f"next: kohya-runner compare cat/001{more}"]


@pytest.mark.parametrize(
    ("asked", "why", "shown"),
    [
        (True, "SIGINT", "stopped as you asked at step 1000, after saving cat-000009.safetensors"),
        (False, "SIGTERM", "stopped by SIGTERM at step 1000, after saving cat-000009.safetensors"),
    ],
)
def test_a_stop_is_told_as_what_it_is(odd_path, asked, why, shown):
    folder = odd_path / "runs" / "my cat" / "006"
    recorded(folder, state="stopped", exit=record.Exit(signal=2, why=why, asked=asked))
    assert shown in "\n".join(texts(StatusReader(folder).look(), 120, 24))
    page = folder / "report.html"
    run_page.write(StatusReader(folder).look().view, page)
    assert shown in page.read_text(encoding="utf-8")
    assert ("signal 2" in page.read_text(encoding="utf-8")) is not asked
