"""Runs that were broken from outside, each by its root kind: real processes, the practice trainer as trainer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
from practice_runs import wait_until
from test_resume import QUICKSTART, ROOT, Runner

from kohya_runner.record import ledger
from kohya_runner.record.process_identity import state_of

pytestmark = pytest.mark.daily
SLOW = {"KOHYA_PRACTICE_STEP_SECONDS": "0.4"}
FIRST = "quickstart-000001.safetensors"


class Broken(Runner):
    """The quickstart for two epochs of six steps, and whatever else a person may ask."""

    def start(self, *args, **env):
        return super().start("--set=args.max_train_epochs=2", *args, **env)

    def ask(self, *words):
        return forked.run(*words, env=self.env)

    def at_step(self, number, **env):
        """A launch whose trainer is at this step."""
        process = self.start("--resume", **{**SLOW, **env})
        return process, self.wait_for(f" {number}/12 ")


@pytest.fixture
def runner(odd_path):
    return Broken(odd_path)


def ended(process):
    _, err = process.communicate(timeout=180)
    return process.returncode, err


DAMAGE = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "null": lambda path: path.write_text("null"),
    "another version": lambda path: path.write_text(path.read_text().replace('"version": 1', '"version": 9', 1)),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_that_cannot_be_read_is_not_taken_for_none(runner, damage):
    runner.cut(8)
    DAMAGE[damage](runner.folder / "record.json")
    code, out, err = runner.launch("--resume")
    assert code == 4, out + err
    assert "record.json" in out + err
    assert "quickstart-000001-state" in out + err
    assert not (runner.folder.parent / "002").exists()
    assert "unreadable" in runner.ask("runs")[1]
    assert runner.ask("logs")[0] == 0
    assert runner.launch("--resume", "--allow", "disk.record")[0] == 0
    assert (runner.folder.parent / "002").exists()


def test_a_newer_run_that_cannot_be_read_does_not_lead_to_an_older_one(runner):
    runner.cut(8)
    shutil.copytree(runner.folder, runner.folder.parent / "002")
    (runner.folder.parent / "002" / "record.json").write_text("{")
    code, out, err = runner.launch("--resume")
    assert code == 4, out + err
    assert runner.read("record.json")["attempt"] == 1


def test_a_ledger_of_attempts_that_cannot_be_read_is_told(runner):
    runner.cut(8)
    (runner.folder / "attempts.json").write_text("{")
    code, out, err = runner.launch("--resume")
    assert code == 4, out + err
    assert "attempts.json" in out + err


@pytest.mark.parametrize("words", [(), ("--after-save",)])
def test_a_frozen_runner_is_stopped_past(runner, words):
    process, record = runner.at_step(2, KOHYA_PRACTICE_STEP_SECONDS="2")
    os.kill(record["runner"]["pid"], signal.SIGSTOP)
    wait_until(lambda: state_of(record["runner"]["pid"]) == "T")
    begun = time.monotonic()
    code, _, err = runner.ask("stop", *words)
    assert (code, "stopped" in err) == (0, True), err
    assert time.monotonic() - begun < 90
    assert state_of(record["process"]["pid"]) in ("", "Z")
    assert process.wait(180) == -signal.SIGKILL
    assert runner.read("record.json")["state"] == "stopped"
    assert not (runner.folder.parent / "active").exists()


HUNG = """
import os, time
real, held = os.waitid, os.environ["HELD"]
def waitid(*given):
    if os.path.exists(held):
        {then}
    return real(*given)
os.waitid = waitid
"""


def hanging(runner, tmp_path, then):
    """A runner whose watch does this as soon as the returned path is there."""
    (tmp_path / "sitecustomize.py").write_text(HUNG.format(then=then), encoding="utf-8")
    held = tmp_path / "held"
    runner.env |= {"PYTHONPATH": f"{tmp_path}:{ROOT}", "HELD": str(held)}
    return held


@pytest.mark.parametrize("words", [(), ("--after-save",)])
def test_a_runner_that_hangs_asleep_is_stopped_past(runner, tmp_path, words):
    held = hanging(runner, tmp_path, "os.read(os.pipe()[0], 1)")
    process, record = runner.at_step(1, KOHYA_PRACTICE_STEP_SECONDS="4")
    held.touch()
    time.sleep(1)
    assert state_of(record["runner"]["pid"]) == "S"
    begun = time.monotonic()
    code, _, err = runner.ask("stop", *words)
    assert (code, "stopped" in err) == (0, True), err
    assert time.monotonic() - begun < 120
    assert state_of(record["process"]["pid"]) in ("", "Z")
    assert process.wait(180) == -signal.SIGKILL
    assert runner.read("record.json")["state"] == "stopped"


def test_a_runner_that_is_only_slow_is_waited_for(runner, tmp_path):
    held = hanging(runner, tmp_path, "[time.sleep(0.9) for _ in range(18)]; os.unlink(held)")
    process, _ = runner.at_step(1, KOHYA_PRACTICE_STEP_SECONDS="3")
    held.touch()
    time.sleep(1)
    begun = time.monotonic()
    assert runner.ask("stop")[0] == 0
    assert time.monotonic() - begun > 15  # as long as one that hangs is waited for
    assert ended(process)[0] == 143
    assert runner.read("record.json")["exit"]["why"] == "SIGTERM"  # its own words, not those of stop


def test_a_stop_that_did_not_stop_is_no_success(runner, monkeypatch):
    from click.testing import CliRunner

    from kohya_runner.commands.cli import main
    from kohya_runner.run import views

    process, _ = runner.at_step(1)
    monkeypatch.setattr(views, "stop", lambda view, *_, **__: view)
    monkeypatch.setenv("KOHYA_WORKSPACE", str(runner.workspace))
    assert CliRunner().invoke(main, ["stop"]).exit_code == 7
    process.terminate()
    ended(process)


def test_an_epoch_that_was_cut_before_the_resume_is_told(runner):
    runner.cut(9)
    os.truncate(runner.output / FIRST, 300)
    assert f"{FIRST}   " in runner.ask("status")[1]
    assert "but is cut" in runner.ask("status")[1]
    assert json.loads(runner.ask("status", "--json")[1])["doubts"][FIRST].startswith("is cut")
    code, _, err = runner.launch("--resume")
    assert code == 0, err
    assert f"{FIRST} was whole and is cut" in err
    assert "its epoch is not trained again" in err
    assert [note["code"] for note in runner.read("record.json")["notes"]] == ["checkpoint.gone"]


@pytest.mark.parametrize(
    ("harm", "code"), [(lambda p: p.unlink(), "checkpoint.gone"), (lambda p: os.truncate(p, 300), "checkpoint.cut")]
)
def test_an_epoch_that_is_lost_while_the_run_goes_on_is_told_at_its_end(runner, harm, code):
    process, _ = runner.at_step(8, KOHYA_PRACTICE_STEP_SECONDS="0.8")
    wait_until(lambda: any(c["sha256"] for c in runner.read("record.json")["checkpoints"]))
    harm(runner.output / FIRST)
    returned, err = ended(process)
    assert returned == 0, err
    assert f"WARNING {code}: {FIRST} was whole" in err
    assert [note["code"] for note in runner.read("record.json")["notes"]] == [code]


def test_a_file_that_is_written_anew_is_hashed_again(runner):
    process, _ = runner.at_step(8, KOHYA_PRACTICE_STEP_SECONDS="0.8")
    wait_until(lambda: any(c["sha256"] for c in runner.read("record.json")["checkpoints"]))
    path = runner.output / FIRST
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert ended(process)[0] == 0
    import hashlib

    assert runner.read("record.json")["checkpoints"][0]["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_state_with_zeros_in_its_middle_is_not_resumed_from(runner):
    runner.cut(9)
    path = runner.output / "quickstart-000001-state" / "optimizer.bin"
    data = bytearray(path.read_bytes())
    data[40:44] = bytes(byte ^ 255 for byte in data[40:44])
    path.write_bytes(data)
    code, _, err = runner.launch("--resume")
    assert code == 0, err
    assert runner.read("record.json")["attempt"] == 1
    assert json.loads((runner.folder.parent / "002/record.json").read_text())["state"] == "succeeded"


def test_a_workspace_that_was_renamed_is_gone_on_with(runner):
    runner.cut(9)
    moved = runner.workspace.with_name("another name")
    runner.workspace.rename(moved)
    runner.workspace, runner.env["KOHYA_WORKSPACE"] = moved, str(moved)
    code, out, err = runner.launch("--resume")
    assert code == 0, out + err
    assert runner.read("record.json")["attempt"] == 2
    again = moved.with_name("a third")
    moved.rename(again)
    runner.workspace, runner.env["KOHYA_WORKSPACE"] = again, str(again)
    code, out, err = runner.launch("--resume")
    assert (code, "done before" in err) == (0, True), out + err


def test_pictures_that_were_moved_are_the_same_and_others_are_not(runner, odd_path):
    pictures = odd_path / "pictures"
    shutil.copytree(ROOT / "recipes" / "sprites", pictures)
    runner.cut(9, f"--set=datasets.0.images={json.dumps(str(pictures))}")
    moved = pictures.rename(odd_path / "another disk's")
    runner.workspace = runner.workspace.rename(odd_path / "another workspace")
    runner.env["KOHYA_WORKSPACE"] = str(runner.workspace)
    there = f"--set=datasets.0.images={json.dumps(str(moved))}"
    caption = next(moved.glob("*.txt"))
    before = caption.read_text()
    caption.write_text("another word")
    code, out, err = runner.launch("--resume", there)
    assert (code, "the data changed since" in out + err) == (6, True), out + err
    caption.write_text(before)
    code, out, err = runner.launch("--resume", there)
    assert code == 0, out + err
    assert runner.read("record.json")["attempt"] == 2
    assert runner.read("record.json")["steps_seen"] == 12
    code, out, err = runner.launch("--resume", there)
    assert (code, "done before" in err) == (0, True), out + err


CLOCK = """
import os, time
real, shifted = time.time, os.environ["SHIFTED"]
time.time = lambda: real() + (7200 if os.path.exists(shifted) else 0)
"""


@pytest.fixture
def clock(runner, tmp_path):
    """A file: while it is there the clock of every process is two hours on."""
    (tmp_path / "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
    file = tmp_path / "two hours on"
    runner.env |= {"PYTHONPATH": f"{tmp_path}:{ROOT}", "SHIFTED": str(file)}
    return file


def test_a_clock_that_is_put_back_makes_no_file_another_runs(runner, clock):
    clock.touch()
    process, _ = runner.at_step(2)
    clock.unlink()
    code, err = ended(process)
    assert code == 0, err
    kept = runner.read("record.json")
    assert [(c["epoch"], len(c["sha256"])) for c in kept["checkpoints"]] == [(1, 64), (2, 64)]
    assert 0 < kept["timings"]["ran"] < 60


def test_a_clock_that_is_put_on_spends_no_budget(runner, clock):
    process = runner.start("--set=budget.max_hours=1", **SLOW)
    runner.wait_for(" 2/12 ")
    clock.touch()
    assert ended(process)[0] == 0
    assert runner.read("record.json")["timings"]["ran"] < 60


def cut_log(path):
    os.truncate(path, 0)


def replace_log(path):
    path.with_name("other").write_text("another log\n")
    path.with_name("other").replace(path)


@pytest.mark.parametrize("harm", [cut_log, replace_log, os.unlink])
def test_a_log_that_is_taken_away_makes_the_runner_not_deaf(runner, harm):
    process, _ = runner.at_step(3)
    harm(runner.folder / "trainer.log")
    code, err = ended(process)
    assert code == 0, err
    assert runner.read("record.json")["steps_seen"] == 12
    assert (runner.folder / "trainer.log").read_text()


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{") and os.utime(path, (1, 1))])
def test_a_lock_that_was_lost_lets_no_second_run_begin(runner, harm):
    process, _ = runner.at_step(1, KOHYA_PRACTICE_STEP_SECONDS="2")
    harm(runner.folder.parent / "active")
    code, _, err = runner.launch()
    assert (code, "is still running" in err) == (7, True), err
    assert runner.ask("stop")[0] == 0
    ended(process)


def test_an_empty_lock_of_the_future_holds_for_nobody(runner):
    folder = runner.folder.parent
    folder.mkdir(parents=True)
    (folder / "active").touch()
    os.utime(folder / "active", (time.time() + 86400,) * 2)
    assert runner.launch()[0] == 0


@pytest.mark.parametrize("words", ["", "--json", "--json 2>&1"])
def test_a_reader_that_leaves_is_141_or_the_runs_own_code(runner, words):
    launch = f"'{sys.executable}' -m kohya_runner launch '{QUICKSTART}' --practice {words}"
    line = f"{launch} | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ("bash", "-c", line), env=runner.env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout.splitlines()[-1][-3:].strip("{=") in ("0", "141"), done.stdout + done.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_a_closed_stream_is_no_bug(runner, closed, code):
    line = f"'{sys.executable}' -m kohya_runner launch '{QUICKSTART}' --practice {closed}"
    assert subprocess.run(("bash", "-c", line), env=runner.env, timeout=180, check=False).returncode == code
    assert runner.read("record.json")["state"] == "succeeded"


LOCALES = {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("variable", LOCALES)
@pytest.mark.parametrize("name", ["kein Rezept äöü 猫.yaml", "\udcff.yaml"])
def test_a_name_that_cannot_be_shown_is_a_message(runner, variable, name):
    runner.env |= variable
    code, out, err = runner.ask("plan", name, "--json")
    assert code == 2, err
    assert "Traceback" not in err
    assert json.loads(out)["ok"] is False


def test_json_is_one_object_where_the_system_refuses(runner):
    assert runner.launch()[0] == 0
    runs = runner.workspace / "runs"
    runs.rename(runner.workspace / "elsewhere")
    runs.write_text("no folder")
    for words in (("runs", "--json"), ("status", "--json"), ("launch", str(QUICKSTART), "--practice", "--json")):
        code, out, err = runner.ask(*words)
        assert code == 4, err
        assert json.loads(out)["error"]["exit_code"] == 4


def test_json_is_one_object_where_a_signal_ends_a_command_that_only_reads(runner):
    command = (sys.executable, "-m", "kohya_runner", "diagnose", "-", "--json")
    process = subprocess.Popen(command, env=runner.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    status = Path(f"/proc/{process.pid}/status")
    wait_until(lambda: int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1)
    process.terminate()
    out, _ = process.communicate(timeout=180)
    assert (process.returncode, json.loads(out)["error"]["exit_code"]) == (143, 143)


def test_runs_in_a_folder_that_may_not_be_read_are_not_none(runner, monkeypatch):
    (runner.workspace / "runs").mkdir(parents=True)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(PermissionError):
        ledger.runs(runner.workspace / "runs")


def test_a_lost_run_on_a_disk_that_takes_no_writes_can_be_looked_at(runner, tmp_path):
    process, record = runner.at_step(8)
    for pid in (record["runner"]["pid"], record["process"]["pid"]):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: state_of(record["process"]["pid"]) in ("", "Z"))
    bound = subprocess.run(("mount", "--bind", runner.workspace, runner.workspace), capture_output=True, check=False)
    if bound.returncode:
        pytest.skip("NO MOUNT: mounting is not allowed here")
    try:
        subprocess.run(("mount", "-o", "remount,ro,bind", runner.workspace), check=True)
        code, out, err = runner.ask("status", "--json")
        assert (code, json.loads(out)["state"]) == (8, "lost"), err
    finally:
        subprocess.run(("umount", runner.workspace), check=True)


def test_launch_and_status_agree_about_a_file_that_was_cut(runner):
    code, _, err = runner.launch(KOHYA_PRACTICE_FAULT="truncate")
    assert code == 10, err
    assert runner.ask("status")[0] == 10


def test_a_pipe_as_checkpoint_holds_nobody(runner):
    process, _ = runner.at_step(2, KOHYA_PRACTICE_STEP_SECONDS="2")
    os.mkfifo(runner.output / "pipe.safetensors")
    os.mkfifo(runner.output / "pipe.ckpt")
    assert runner.ask("status")[0] == 0
    assert runner.ask("logs")[0] == 0
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130


def test_attempts_are_closed_for_runs_that_were_adopted_and_caught_up_after_a_kill(runner):
    process, _ = runner.at_step(2)
    process.kill()
    process.wait()
    assert runner.ask("status", "--adopt")[0] == 0
    (last,) = runner.read("attempts.json")["attempts"]
    assert (last["outcome"], last["steps_seen"]) == ("succeeded", 12)


def test_an_attempt_whose_runner_was_killed_is_closed_with_all_its_steps(runner):
    process, record = runner.at_step(8)
    for pid in (record["runner"]["pid"], record["process"]["pid"]):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: state_of(record["process"]["pid"]) in ("", "Z"))
    assert runner.launch("--resume")[0] == 0
    first, second = runner.read("attempts.json")["attempts"]
    assert (first["outcome"], second["outcome"]) == ("lost", "succeeded")
    assert first["steps_seen"] >= 8
