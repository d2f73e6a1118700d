"""What is there and cannot be read is neither absent nor broken: runs, states, logs, stays. Nor may root read it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_breakage import FIRST, Broken
from test_resume import QUICKSTART, ROOT

pytestmark = pytest.mark.daily
OBEDIENT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Before a command: root without the capabilities that make permissions meaningless."""
STATE = "quickstart-000001-state"


class Kept(Broken):
    """A run that was cut in epoch 2, asked by somebody whom permissions hold."""

    def ask(self, *words):
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            pytest.skip("NO SETPRIV: root reads everything here")
        before = OBEDIENT if os.geteuid() == 0 else ()
        done = subprocess.run(
            (*before, sys.executable, "-m", "kohya_runner", *words), env=self.env, cwd=ROOT, capture_output=True,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        assert "Traceback (most recent" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def again(self, *words):
        return self.ask("launch", str(QUICKSTART), "--practice", "--set=args.max_train_epochs=2", *words)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The workspace of a run that was cut."""
    kept = Kept(tmp_path_factory.mktemp("cut"))
    kept.cut(9)
    return kept.workspace


@pytest.fixture
def runner(odd_path, cut):
    kept = Kept(odd_path)
    shutil.copytree(cut, kept.workspace)
    yield kept
    subprocess.run(("chmod", "-R", "u+rwX", odd_path), check=True)


@pytest.mark.parametrize("name", [
    "", *(pytest.param(f"{STATE}/{name}".rstrip("/"), marks=pytest.mark.full)
          for name in ("", "train_state.json", "optimizer.bin", "model.safetensors")),
])  # fmt: skip
def test_a_state_that_may_not_be_read_is_neither_passed_over_nor_removed(runner, name):
    before = sorted((runner.output / STATE).iterdir())
    (runner.output / name).chmod(0)
    code, out, err = runner.again("--resume")
    assert (code, "disk.record" in out, "Permission denied" in out) == (4, True, True), out + err
    assert not (runner.folder.parent / "002").exists()
    (runner.output / name).chmod(0o755)
    assert sorted((runner.output / STATE).iterdir()) == before
    code, out, err = runner.again("--resume")
    assert (code, runner.read("record.json")["attempt"]) == (0, 2), out + err


@pytest.mark.full
def test_a_state_that_may_not_be_read_can_be_left_for_a_new_run(runner):
    (runner.output / STATE).chmod(0)
    code, out, err = runner.again("--resume", "--allow", "disk.record")
    assert code == 0, out + err
    assert (runner.folder.parent / "002").exists()


@pytest.mark.parametrize("words", [pytest.param((), marks=pytest.mark.full), ("--once",)])
def test_whether_it_was_done_before_is_not_known_where_its_record_cannot_be_read(runner, words):
    (runner.folder / "record.json").write_text("{")
    code, out, err = runner.again(*words, "--dry-run")
    assert code == 0, err
    assert "whether this run was done before is not known" in out


def test_a_run_that_may_not_be_read_hides_no_other(runner):
    shutil.copytree(runner.folder, runner.folder.parent / "002")
    runner.folder.chmod(0)
    code, out, err = runner.ask("runs", "--json")
    assert code == 0, err
    assert {one["run_id"]: one["state"] for one in json.loads(out)["runs"]} == {"001": "unreadable", "002": "failed"}


def test_runs_on_a_volume_that_is_away_are_not_none(runner):
    runs = runner.workspace / "runs"
    runs.rename(runner.workspace / "volume")
    runs.symlink_to(runner.workspace / "not mounted")
    assert runner.ask("runs", "--json")[0] == 4
    runs.unlink()
    runs.mkdir()
    (runs / "quickstart").symlink_to(runner.workspace / "not mounted")
    assert runner.ask("runs", "--json")[0] == 4
    (runs / "quickstart").unlink()
    (runs / "quickstart").mkdir()
    (runs / "quickstart" / "001").symlink_to(runner.workspace / "not mounted")
    assert "unreadable" in runner.ask("runs")[1]


@pytest.mark.parametrize(("file", "command"), [
    ("trainer.log", "logs"), ("metrics.jsonl", "metrics"),
    pytest.param("metrics.jsonl", "report", marks=pytest.mark.full),
    pytest.param("trainer.log", "diagnose", marks=pytest.mark.full),
])  # fmt: skip
def test_a_file_that_may_not_be_read_is_not_an_empty_one(runner, file, command):
    (runner.folder / file).chmod(0)
    code, _, err = runner.ask(command)
    assert (code, f"{file}: Permission denied" in err) == (4, True), err


def test_all_of_a_long_log_is_shown(runner):
    with (runner.folder / "trainer.log").open("a") as log:
        log.write("a line of the log\n" * 50_000)
    assert runner.ask("logs", "-n", "0")[1].count("a line of the log") == 50_000


def test_a_log_that_is_gone_is_told(runner):
    (runner.folder / "trainer.log").unlink()
    code, _, err = runner.ask("logs")
    assert (code, "there is no log" in err) == (2, True), err


NOWHERE = "a link that leads nowhere"


@pytest.mark.parametrize("text", ["{", NOWHERE, *(pytest.param(text, marks=pytest.mark.full) for text in ("", "[]"))])
def test_a_stay_that_cannot_be_read_is_no_run_of_this_machine(runner, text):
    record = runner.read("record.json") | {"state": "running", "exit": None}
    before = json.dumps(record)
    (runner.folder / "record.json").write_text(before)
    if text == NOWHERE:
        (runner.folder / "remote.json").symlink_to("/a lost volume/remote.json")
    else:
        (runner.folder / "remote.json").write_text(text)
    code, out, err = runner.ask("status")
    why = "remote.json is a link that leads out" if text == NOWHERE else "remote.json: cannot be read"
    assert (code, why in out + err) == (2, True), out + err
    assert runner.ask("stop")[0] == (2 if text == NOWHERE else 12)
    code, out, err = runner.ask("runs")
    assert (code, "unreadable" in out) == (0, True), err
    assert (runner.folder / "record.json").read_text() == before


def test_what_is_billed_is_told_although_a_stay_cannot_be_read(runner):
    (runner.folder / "remote.json").write_text("{")
    code, out, err = runner.ask("runs", "--remote", "--json")
    assert (code, json.loads(out)["billed"]) == (0, []), err
    assert err.count("remote.json: cannot be read") == 1


def test_prepare_is_for_this_machine(runner):
    code, _, err = runner.again("--prepare", "--on", "somewhere")
    assert (code, "--on: not with --prepare" in err) == (2, True), err


@pytest.mark.full
def test_an_epoch_that_may_not_be_read_stays_where_it_is(runner):
    (runner.output / FIRST).chmod(0)
    size = (runner.output / FIRST).stat().st_size
    code, out, err = runner.again("--resume")
    assert code == 0, out + err
    assert (runner.output / FIRST).stat().st_size == size


def test_settings_that_cannot_be_read_are_not_none(runner):
    file = Path(runner.env["HOME"]) / ".config" / "kohya-runner" / "config.yaml"
    file.parent.mkdir(parents=True)
    for damage in (lambda: file.chmod(0), lambda: file.chmod(0o644) or file.write_bytes(b"workspace: \xff\n")):
        file.write_text("workspace: /tmp\n") if not file.exists() else None
        damage()
        code, out, err = runner.ask("runs", "--json")
        assert (code, "config.yaml: cannot be read" in json.loads(out)["error"]["message"]) == (2, True), err
