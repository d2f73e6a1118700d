"""The command as a process: what it says, how it is stopped, and two of them at once."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import forked
import pytest
from sweep_trainer import trained_run

from kohya_runner.compare.clip import HINT
from kohya_runner.compare.settings import SweepOptions
from kohya_runner.compare.subject import Named
from kohya_runner.compare.sweep import compare, compare_run

ROOT = Path(__file__).parents[2]


def pictures(run_dir):
    return {p.name: p.read_bytes() for p in (run_dir / "comparison" / "cells").glob("*.png")}


def answer(run_dir):
    return json.loads((run_dir / "comparison" / "compare.json").read_bytes())


def child(run_dir, *more):
    return forked.start("compare", str(run_dir), *more, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
def test_an_interruption_keeps_what_is_painted(run_dir, checkout, number, code):
    process = child(run_dir, "--prompt=a cat", "--prompt=HANG")
    until = time.monotonic() + 180
    while len(pictures(run_dir)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    assert "are kept" in err
    assert len(pictures(run_dir)) >= 3
    assert not list((run_dir / "comparison").glob(".painting-*"))
    kept, part = pictures(run_dir), answer(run_dir)
    assert str(run_dir / "comparison" / "report.html") in err
    assert (run_dir / "comparison" / "contact-sheet.png").is_file()
    assert sum(cell["file"] is not None for cell in part["cells"]) == len(kept)
    assert any("was stopped" in note for note in part["notes"])
    assert compare_run(run_dir, given=SweepOptions(prompts=("a cat",))).failed == ()
    assert kept.items() <= pictures(run_dir).items()


def test_a_script_that_would_go_on_after_ctrl_c_ends(odd_path, checkout):
    part = odd_path / "part.safetensors"
    part.touch()
    run = trained_run(odd_path / "hunyuan", family="hunyuan_image", text_encoder=part, byt5=part, vae=part)
    process = waiting(run, "--size=64x64")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert len(pictures(run)) == 3


def waiting(run_dir, *more):
    """A sweep that hangs in the middle; its first pictures are there."""
    process = child(run_dir, "--prompt=a cat", "--prompt=HANG", *more)
    until = time.monotonic() + 180
    while len(pictures(run_dir)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    return process


def test_a_second_sweep_into_the_same_folder_is_refused_and_told_who_is_there(run_dir, checkout):
    first = waiting(run_dir)
    second = child(run_dir, "--prompt=a bird")
    _, err = second.communicate(timeout=180)
    assert second.returncode == 7
    assert f"another sweep is painting there (process {first.pid})" in err
    elsewhere = Named((str(run_dir),), output=run_dir / "else where")
    assert compare(elsewhere, SweepOptions(prompts=("a bird",))).failed == ()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=180)
    assert compare_run(run_dir, given=SweepOptions(prompts=("a bird",))).failed == ()


def test_what_a_killed_sweep_left_behind_keeps_nobody_out(run_dir, checkout):
    process = waiting(run_dir)
    process.kill()
    process.communicate(timeout=180)
    kept = pictures(run_dir)
    assert (run_dir / "comparison" / "active").is_file()
    assert compare_run(run_dir, given=SweepOptions(prompts=("a cat",))).failed == ()
    assert kept.items() <= pictures(run_dir).items()
    assert not (run_dir / "comparison" / "active").exists()
    assert not list((run_dir / "comparison").glob(".painting-*"))


def test_the_command_says_what_it_found_and_how_long_it_takes(run_dir, checkout):
    out, err = child(run_dir).communicate(timeout=180)
    assert "suggestion:" in out
    assert str(run_dir / "comparison" / "report.html") in out
    assert "loading the base model to paint 8 pictures" in err


def test_json_is_one_object_and_the_same_as_the_file(run_dir, checkout):
    out, _ = child(run_dir, "--json").communicate(timeout=180)
    assert json.loads(out) == answer(run_dir)


def test_a_failed_cell_is_the_exit_code_of_a_failed_trainer(run_dir, checkout):
    process = child(run_dir, "--prompt=a cat", "--prompt=LEAVE")
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 8
    assert "failed: epoch 1, prompt 2, seed 7: " in out


def test_without_a_clip_model_one_line_says_what_would_turn_its_figures_on(run_dir, checkout):
    out, _ = child(run_dir).communicate(timeout=180)
    assert [line for line in out.splitlines() if "CLIP" in line] == [HINT]
    assert "clip_prompt" not in [metric["key"] for metric in answer(run_dir)["metrics"]]
    assert "--clip DIR" in (run_dir / "comparison" / "report.html").read_text(encoding="utf-8")
