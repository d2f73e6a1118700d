from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Phase, Step
from kohya_runner.record.metrics_file import Appender, Reader, read
from kohya_runner.run.event_files import Scalar, scalar_record, version_record
from kohya_runner.run.metrics_observer import MetricsRecorder

ROOT = Path(__file__).parents[2]


def recorder(folder):
    return SimpleNamespace(run_dir=folder, now=SimpleNamespace(timings=SimpleNamespace(started=time.time())))


def step(number, loss=0.1, elapsed=None, total=100):
    return Step(number, total, 1.0, float(number if elapsed is None else elapsed), 1.0, loss)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def steps(folder):
    return [line["step"] for line in lines(folder) if "loss" in line]


@pytest.fixture
def folder(odd_path):
    return odd_path


def test_a_slow_run_has_a_line_for_each_step_phase_epoch_and_checkpoint(folder, monkeypatch):
    clock = iter(float(n) for n in range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    meter = MetricsRecorder(recorder(folder))
    for event in (Phase("training"), Epoch(1, 2), step(1), step(2), Phase("saving a checkpoint"),
                  CheckpointStarted(Path("/x/my cat.safetensors")), step(3, math.nan)):  # fmt: skip
        meter.event(event)
        meter.tick()
    found = read(folder)
    assert [(s.step, s.epoch) for s in found.steps] == [(1, 1), (2, 1), (3, 1)]
    assert math.isnan(found.steps[-1].loss)
    assert [(m.kind, m.name, m.step) for m in found.marks] == [
        ("phase", "training", None),
        ("begins", "epoch", 0),
        ("phase", "saving a checkpoint", None),
        ("checkpoint", "my cat.safetensors", 2),
    ]
    assert lines(folder)[-1]["loss"] == "nan"


def test_a_fast_run_is_thinned_but_the_last_step_before_a_save_is_there(folder):
    meter = MetricsRecorder(recorder(folder))
    for number in range(1, 500):
        meter.event(step(number))
        meter.event(step(number, 0.2))  # the bar is drawn twice
    meter.event(Phase("saving a checkpoint"))
    assert len(steps(folder)) < 6
    assert steps(folder)[-1] == 499
    assert read(folder).steps[-1].loss == 0.2


def test_the_first_loss_that_is_no_number_gets_its_line(folder):
    meter = MetricsRecorder(recorder(folder))
    for number in range(1, 100):
        meter.event(step(number, math.inf if number >= 50 else 0.1))
    meter.event(Phase("x"))
    assert next(s.step for s in read(folder).steps if not math.isfinite(s.loss)) == 50


def test_the_file_of_a_month_is_bounded(folder, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    meter = MetricsRecorder(recorder(folder))
    counted = []
    meter._file = SimpleNamespace(add=counted.append, touch=lambda: None)
    for number in range(1, 500_000):
        now[0] += 30 * 86400 / 500_000
        meter.event(step(number, total=500_000))
    assert 50_000 < len(counted) < 140_000


def test_an_adopted_run_has_no_line_twice_and_says_what_it_saw_late(folder):
    events = [Phase("loading the model"), Phase("training"), Epoch(1, 2), *map(step, range(1, 6)),
              Phase("saving a checkpoint"), CheckpointStarted(Path("a-000001.safetensors"))]  # fmt: skip
    first = MetricsRecorder(recorder(folder))
    for event in events:
        first.event(event)
        first.tick()
    before = lines(folder)
    for _ in range(3):  # adopted several times in a row
        again = MetricsRecorder(recorder(folder))
        for event in events:
            again.event(event)
        again.tick()
    assert lines(folder) == before
    later = MetricsRecorder(recorder(folder))
    for event in (*events, Phase("training"), Epoch(2, 2), *map(step, range(6, 9)), Phase("saving a checkpoint")):
        later.event(event)
    assert steps(folder)[-3:] == [6, 7, 8]
    assert all(line.get("late") for line in lines(folder)[len(before) :])
    later.tick()
    later.event(CheckpointStarted(Path("a.safetensors")))
    assert "late" not in lines(folder)[-1]


@pytest.mark.parametrize("rest", [b'{"t":1.0,"step":2,"lo', b"\xff\xfe\x00", b"{" * 20_000, b"[" * 5_000])
def test_a_torn_last_line_is_passed_over_and_ended_by_the_next_writer(folder, rest):
    path = folder / "metrics.jsonl"
    Appender(path).add({"t": 1.0, "step": 1, "loss": 0.5})
    with path.open("ab") as file:
        file.write(rest)
    assert [s.step for s in read(folder).steps] == [1]
    Appender(path).add({"t": 2.0, "step": 3, "loss": 0.5})
    assert [s.step for s in read(folder).steps] == [1, 3]


STRANGE = ("7", "null", '{"t":"x","step":1,"loss":1}', '{"t":1,"step":true,"loss":1}', '{"t":1,"step":"1","loss":1}',
           '{"t":1,"step":1}', '{"step":1,"loss":1}')  # fmt: skip


@pytest.mark.parametrize("line", STRANGE)
def test_a_line_that_is_none_of_ours_is_passed_over(folder, line):
    (folder / "metrics.jsonl").write_text(f"{line}\n", encoding="utf-8")
    assert read(folder).steps == ()


def test_a_full_disk_loses_no_line_and_raises_nothing(folder):
    """Files may have 200 bytes for a while."""
    code = (
        "import json, resource, signal, sys\nfrom pathlib import Path\n"
        "from kohya_runner.record.metrics_file import Appender\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "file = Appender(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))\n"
        "for n in range(1, 20): file.add({'t': 1.0, 'step': n, 'loss': 0.5})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "file.add({'t': 1.0, 'step': 20, 'loss': 0.5})\n"
    )
    path = folder / "metrics.jsonl"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run((sys.executable, "-c", code, str(path)), check=True, env=env)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert [s.step for s in read(folder).steps] == list(range(1, 21))


def test_a_writer_that_is_killed_leaves_whole_lines(folder):
    code = (
        "import sys\nfrom pathlib import Path\nfrom kohya_runner.record.metrics_file import Appender\n"
        "file = Appender(Path(sys.argv[1]))\nn = 0\n"
        "while True:\n    n += 1\n    file.add({'t': 1.0, 'step': n, 'loss': 0.5, 'elapsed': 1.0})\n"
    )
    path, env = folder / "metrics.jsonl", {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        writer = subprocess.Popen((sys.executable, "-c", code, str(path)), env=env)
        until = time.monotonic() + 180
        size = path.stat().st_size if path.exists() else 0
        while time.monotonic() < until and not (path.exists() and path.stat().st_size > size + 5000):
            time.sleep(0.01)
        writer.kill()
        writer.wait()
    assert all(json.loads(line)["loss"] == 0.5 for line in path.read_text().splitlines())


def test_a_run_that_was_resumed_counts_with_its_later_steps(folder):
    file = Appender(folder / "metrics.jsonl")
    for number, loss in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.9)):
        file.add({"t": 1.0, "step": number, "loss": loss, "elapsed": 1.0})
    assert [(s.step, s.loss) for s in read(folder).steps] == [(1, 0.1), (2, 0.9)]


def test_learning_rates_come_from_the_trainers_event_files(folder):
    logs = folder / "logs" / "20261124101010" / "network_train"
    logs.mkdir(parents=True)
    tags = ("loss/current", "loss/average", "lr/textencoder", "lr/unet", "lr/group1")
    rows = [Scalar(1700000000.0 + n, n, tag, n / 10) for n in (1, 2, 3) for tag in tags]
    rows.append(Scalar(1700000009.0, 1, "loss/epoch_average", 0.5))
    data = version_record(1.0) + b"".join(map(scalar_record, rows))
    (logs / "events.out.tfevents.1.pod").write_bytes(data)
    meter = MetricsRecorder(recorder(folder))
    meter.event(step(1))
    meter.tick()
    found = read(folder).steps
    assert [s.lr for s in found] == [{"textencoder": n / 10, "unet": n / 10} for n in (1, 2, 3)]
    assert (found[0].loss, found[0].current) == (0.1, pytest.approx(0.1))
    again = MetricsRecorder(recorder(folder))
    again.tick()
    assert len(lines(folder)) == 4


def test_without_event_files_no_learning_rate_is_made_up(folder):
    meter = MetricsRecorder(recorder(folder))
    meter.event(step(1))
    meter.tick()
    assert read(folder).steps[0].lr == {}


def test_a_reader_follows_a_file_that_grows(folder):
    reader, file = Reader(folder / "metrics.jsonl"), Appender(folder / "metrics.jsonl")
    assert reader.look().steps == ()
    for number in (1, 2):
        file.add({"t": 1.0, "step": number, "loss": 0.1, "elapsed": 1.0})
        assert reader.look().steps[-1].step == number
