"""docs/matrix.md says what docs/matrix.json holds, and that file holds what the table of families knows."""

from __future__ import annotations

import json
from pathlib import Path

import matrix
import pytest
from matrix import SD_SCRIPTS, note, page

from kohya_runner.engines import table
from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.engines.table import ABSENT

ROOT = Path(__file__).parents[1]

FAMILIES = table.families()
METHODS = ("lora", "finetune", "dreambooth", "controlnet", "lllite", "textual_inversion")
RUNS = json.loads((ROOT / "docs" / "matrix.json").read_text(encoding="utf-8"))["runs"]


def test_the_committed_page_is_that_of_the_committed_runs():
    assert (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8") == page(RUNS)


def test_every_run_of_sd_scripts_is_of_the_pinned_commit_and_of_a_row():
    for run in [run for run in RUNS if run["engine"] == SD_SCRIPTS]:
        row = table.find(run["family"], run["method"])
        assert row is not None
        assert row.script == run["script"]
        assert run["commit"] == SD.commit
        assert run["steps"] >= 2


def test_a_pair_nobody_ran_is_planned_only_and_one_without_a_script_not_available():
    lines = {line.split(" | ")[0].strip("| "): line for line in page([]).splitlines() if line.startswith("| ")}
    assert "ran" not in lines["sd15"].split(" | ")
    assert "planned only" in lines["sd15"]
    assert "not available" in lines["hunyuan_image"]


def test_a_run_of_another_script_than_the_rows_fills_no_cell():
    run = {
        "family": "sd15",
        "method": "lora",
        "script": "gone.py",
        "steps": 2,
        "engine": "x",
        "commit": "0",
        "date": "",
    }
    assert page([run]) == page([])


def test_only_a_run_whose_output_was_loaded_says_so():
    run = {"engine": SD_SCRIPTS, "family": "flux", "method": "controlnet", "script": "flux_train_control_net.py",
           "steps": 2, "commit": "0", "date": "today"}  # fmt: skip
    pages = [page([run | more]) for more in ({}, {"loads_in": "paint.py"}, {"no_generator": "it is not there"})]
    cells = [next(line for line in text.splitlines() if line.startswith("| flux |")).split(" | ")[4] for text in pages]
    assert cells == ["ran", "ran, loads", "ran"]
    named = [next(line for line in text.splitlines() if "| today |" in line).split(" | ")[4] for text in pages]
    assert named == ["not tried", "paint.py", "no generator, 1."]
    assert pages[2].endswith("\n1. it is not there.\n")


def test_every_pair_of_a_family_is_there_or_absent_with_a_reason():
    pairs = {(family, method) for family in FAMILIES for method in METHODS}
    there = {row.key for row in table.FAMILIES}
    assert pairs == (pairs & there) | (pairs & set(ABSENT))
    assert not there & set(ABSENT)


def test_a_run_replaces_the_older_one_of_its_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "it's a matrix.json"
    monkeypatch.setattr(matrix, "FILE", path)
    for steps in (2, 4):
        note({"family": "sd15", "method": "lora", "script": "train_network.py", "commit": "c", "steps": steps})
    (run,) = json.loads(path.read_text(encoding="utf-8"))["runs"]
    assert run["steps"] == 4
