from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from excerpts import EXCERPTS, raised

ROOT = Path(__file__).parents[2]


@pytest.fixture
def diagnose(odd_path):
    def _diagnose(*words, stdin=b"", **env):
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(odd_path),
            "KOHYA_WORKSPACE": str(odd_path / "ws"),
        }
        command = (sys.executable, "-m", "kohya_runner", "diagnose", *words)
        done = subprocess.run(command, env=environ | env, input=stdin, capture_output=True, check=False, cwd=odd_path)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return _diagnose


@pytest.fixture
def log(odd_path):
    def _log(text):
        path = odd_path / "a log's name.log"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return _log


def test_a_log_of_any_origin(diagnose, log):
    code, out, _ = diagnose(log(EXCERPTS["out-of-vram"]))
    assert code == 0
    assert out.startswith("out-of-vram: the GPU's memory is full\n  -> args:")


def test_stdin(diagnose):
    code, out, _ = diagnose("-", stdin=EXCERPTS["warmup"].encode())
    assert code == 0
    assert out.startswith("warmup: ")


def test_an_unknown_failure_has_an_exit_code_of_its_own(diagnose, log):
    code, out, _ = diagnose(log(raised("FancyError: x")))
    assert code == 8
    assert out.startswith("not known: the run failed, and no row of the table of causes knows why")


def test_a_success_is_no_failure(diagnose, log):
    code, out, _ = diagnose(log("running training\nmodel saved.\n"))
    assert (code, out) == (0, "the log shows a training that came to its end\n")


@pytest.mark.parametrize("data", [b"", b"\0\xff\xfe" * 100], ids=["empty", "binary"])
def test_what_says_nothing_is_no_cause(diagnose, data):
    assert diagnose("-", stdin=data)[0] == 8


def test_json_is_one_object(diagnose, log):
    code, out, _ = diagnose(log(EXCERPTS["out-of-vram"]), "--json")
    said = json.loads(out)
    assert (code, said["version"], said["ok"], said["outcome"]) == (0, 1, True, "failed")
    assert said["causes"][0]["code"] == "out-of-vram"
    assert (said["step"], said["total"]) == (4, 40)


def test_no_such_log_and_no_such_run(diagnose):
    code, out, err = diagnose("nowhere.log")
    assert (code, out) == (2, "")
    assert "no runs" in err


def test_a_run_by_its_name_and_what_its_record_holds(diagnose, odd_path):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(odd_path), "KOHYA_PRACTICE_FAULT": "oom@3"}
    words = ("launch", str(ROOT / "recipes" / "quickstart.yaml"), "--practice", "--workspace", str(odd_path / "ws"))
    launched = subprocess.run(
        (sys.executable, "-m", "kohya_runner", *words), env=environ, capture_output=True, text=True, check=False
    )
    assert launched.returncode == 8
    assert "out-of-vram: the GPU's memory is full" in launched.stderr
    code, out, _ = diagnose("quickstart")
    assert code == 0
    assert "train_batch_size (now 4)" in out
    assert diagnose()[1] == out
    record = json.loads((odd_path / "ws" / "runs" / "quickstart" / "001" / "record.json").read_bytes())
    assert record["diagnosis"] == {
        key: value for key, value in json.loads(diagnose("quickstart", "--json")[1]).items()
        if key not in ("version", "ok", "log")
    }  # fmt: skip
