from __future__ import annotations

import pytest
from reported_runs import NASTY, alive, measured, recorded

from kohya_runner.run import run_status
from kohya_runner.run.run_status import StatusReader
from kohya_runner.run.stopping import stop_request
from kohya_runner.show import watch_lines


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
    for wanted in ("epoch 1", "8 checkpoints", "cat-000009.safetensors", "disk.low", "hello", "cost 0.07 of "):
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
