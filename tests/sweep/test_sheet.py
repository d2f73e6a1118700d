"""One sheet and one page across runs whose files do not fit into one slot, by a trainer that paints at once."""

from __future__ import annotations

import json
import sys

import devtools
import pytest
import sweep_trainer

from kohya_runner.compare.sweep import quiet
from kohya_runner.errors import NoCheckpointError, UsageError
from kohya_runner.record import ledger
from kohya_runner.record import record as records
from kohya_runner.record.record import SavedCheckpoint
from kohya_runner.sweep.record import VariantRow
from kohya_runner.sweep.sheet import compared
from kohya_runner.sweep.variants import axes, variants


@pytest.fixture
def checkout(odd_path, monkeypatch):
    root = sweep_trainer.painting_checkout(odd_path / "sd scripts")
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(root))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(odd_path / "no config"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return root


def trained(room, variant, fill, rank):
    """A finished run of this name, its last file of this rank."""
    run = sweep_trainer.trained_run(room)
    moved = run.parent.with_name(variant.name) / "001"
    moved.parent.mkdir()
    run.rename(moved)
    file = sweep_trainer.lora_file(moved / "output" / f"{variant.name}.safetensors", fill, rank=rank)
    kept = SavedCheckpoint(file=file.name, bytes=file.stat().st_size, complete=True, epoch=3)
    record = records.read(moved)
    records.write(moved, record.changed(name=variant.name, checkpoints=(kept,), steps_seen=12, loss=0.1 / fill))
    return moved


@pytest.fixture
def rows(odd_path):
    made = []
    for number, variant in enumerate(variants("cat", axes(["args.network_dim=2,4,8", "args.seed=1"])), start=1):
        run = trained(odd_path / "work space", variant, number, 2 if number < 3 else 4)
        made.append(VariantRow(variant, ledger.view(run), 90.0 * number, "<b>slow</b>" if number == 3 else ""))
    return made


def test_runs_stand_side_by_side_with_the_same_prompts_and_seeds(odd_path, checkout, rows):
    found = compared(odd_path / "sweeps" / "cat", rows, 2.0, quiet, None)
    assert [head.label for head in found.columns] == ["base", "dim2", "dim4", "dim8"]
    assert found.failed == ()
    assert len(sweep_trainer.loads(checkout)) == 2  # a process for each shape, the base model in the first
    assert all(head.number is None for head in found.columns)
    told = json.loads((odd_path / "sweeps" / "cat" / "comparison" / "compare.json").read_bytes())
    assert told["runs"][0] == {
        "run": "dim2", "state": "succeeded", "steps": "12/?", "loss": "0.1000", "time": "1 min 30 s", "cost": "0.05",
    }  # fmt: skip
    assert (odd_path / "sweeps" / "cat" / "comparison" / "contact-sheet.png").is_file()
    again = compared(odd_path / "sweeps" / "cat", rows, 2.0, quiet, None)
    assert len(sweep_trainer.loads(checkout)) == 2
    assert again.failed == ()


@pytest.mark.skipif(devtools.CHROMIUM is None, reason=devtools.WHY)
def test_the_page_of_a_sweep_is_read_on_a_phone(odd_path, checkout, rows):
    found = compared(odd_path / "sweeps" / "cat", rows, 2.0, quiet, None)
    with devtools.tab(odd_path / "profile") as tab:
        tab.open(found.folder / "report.html", devtools.PHONE)
        assert tab.sideways() == []
        assert "1 min 30 s" in tab.does("return document.querySelector('.plain').innerText")
        assert tab.does("return document.querySelectorAll('#grid button.choose').length") == 0
        assert tab.complaints == []


def test_a_picked_epoch_is_what_is_compared_of_a_run(odd_path, checkout, rows):
    run = rows[0].view.path
    picked = next((run / "output").glob("my cat-000002.safetensors"))
    (run / "comparison").mkdir()
    (run / "comparison" / "picked.json").write_text(json.dumps({"file": str(picked)}), encoding="utf-8")
    found = compared(odd_path / "sweeps" / "cat", rows, None, quiet, None)
    assert found.columns[1].path == picked


def test_what_cannot_be_compared_is_said(odd_path, checkout, rows):
    with pytest.raises(NoCheckpointError, match="fewer than two"):
        compared(odd_path / "x", rows[:1], None, quiet, None)
    other = rows[1].view.path
    record = records.read(other)
    argv = tuple(token.replace("base model", "other model") for token in record.argv)
    records.write(other, record.changed(argv=argv))
    with pytest.raises(UsageError, match="different base models"):
        compared(odd_path / "x", rows, None, quiet, None)
