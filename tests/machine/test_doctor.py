from __future__ import annotations

import sys

from kohya_runner.engines.table import INFOS
from kohya_runner.findings import Severity
from kohya_runner.machine.doctor import doctor

ENGINES = tuple(INFOS.values())


def environ(folder, **more: str) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", **more}


def test_a_machine_without_a_trainer_cannot_train_and_is_told_what_to_do(odd_path):
    (odd_path / "checkout").mkdir()
    report = doctor(ENGINES, str(odd_path / "checkout"), str(odd_path / "ws"), environ(odd_path))
    assert report.exit_code == 5
    assert "is not a checkout of sd-scripts" in report.findings[0].message


def test_the_parts_are_shown_and_nothing_is_written(odd_path):
    root = odd_path / "sd-scripts"
    (root / "library").mkdir(parents=True)
    (root / "train_network.py").touch()
    (root / "library" / "train_util.py").touch()
    before = sorted(odd_path.rglob("*"))
    report = doctor(ENGINES, str(root), str(odd_path / "ws"), environ(odd_path, KOHYA_RUNNER_PYTHON=sys.executable))
    rows = dict(report.rows)
    assert str(root) in rows["sd-scripts"]
    assert sys.executable in rows["its Python"]
    assert rows["Hub"].startswith("offline")
    assert rows["Hub token"].startswith("none")
    assert report.exit_code == 5  # this Python has no torch
    assert "trainer.import" in {f.code for f in report.findings if f.severity is Severity.ERROR}
    assert sorted(odd_path.rglob("*")) == before


def test_the_token_itself_is_never_shown(odd_path):
    report = doctor(ENGINES, None, str(odd_path / "ws"), environ(odd_path, HF_TOKEN="hf_verysecret"))
    assert "hf_verysecret" not in str(report)
