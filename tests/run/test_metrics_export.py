from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from reported_runs import measured, recorded

from kohya_runner.commands.cli import main
from kohya_runner.run.event_files import EventFile


@pytest.fixture
def run(odd_path, monkeypatch):
    monkeypatch.setenv("HOME", str(odd_path))
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "ws"))
    folder = odd_path / "ws" / "runs" / "my cat" / "001"
    recorded(folder)

    def invoke(*args):
        return CliRunner().invoke(main, list(args))

    invoke.folder = folder
    return invoke


def test_metrics_are_an_object_for_each_step(run):
    measured(run.folder, nan_from=900)
    lines = [json.loads(line) for line in run("metrics").stdout.splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 1001, 2))
    assert lines[0]["lr"]["unet"] == pytest.approx(1e-4, rel=1e-3)
    assert lines[-1]["loss"] == "nan"


def test_metrics_become_an_event_file_under_the_trainers_tags(run, odd_path):
    measured(run.folder)
    result = run("metrics", "--tensorboard", str(odd_path / "tb"))
    assert result.exit_code == 0, result.output
    (file,) = (odd_path / "tb").glob("my cat-001/events.out.tfevents.*")
    found = EventFile(file).read()
    assert {"loss/average", "loss/current", "lr/unet", "lr/textencoder", "seconds_per_step"} <= {s.tag for s in found}
    assert {s.step for s in found} == set(range(1, 1001, 2))


def test_a_run_that_measured_nothing_says_so(run, odd_path):
    assert run("metrics").stdout == ""
    result = run("metrics", "--tensorboard", str(odd_path / "tb"))
    assert result.exit_code == 2
    assert "nothing was measured" in result.stderr
