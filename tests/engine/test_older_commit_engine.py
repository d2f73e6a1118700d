"""Another commit of sd-scripts than the pinned one: what it knows is known, its lines are found, and it trains.

It is taken from the history of the trainer's checkout, or named: KOHYA_RUNNER_OTHER_SD_SCRIPTS=/path/to/a/checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import made_models
import pytest
from test_tiny_families_engine import ALL, ROOT, SHRINK, draw

from kohya_runner.engines.anchors import Sources, table
from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.options.snapshot import engine_options, matches_snapshot, read_what_can_be, train_scripts

pytestmark = pytest.mark.daily

SD15 = next(family for family in ALL if family.name == "sd15")
LIVE = """
import importlib, json, sys
sys.path[0] = sys.argv[1]
parser = importlib.import_module(sys.argv[2]).setup_parser()
print(json.dumps({a.dest: repr(a.default) for a in parser._actions if a.dest != "help"}))
"""


@pytest.fixture(scope="module")
def other(other_sd_scripts: Path) -> Path:
    if matches_snapshot(other_sd_scripts, SD):
        pytest.skip("this is the pinned commit")
    return other_sd_scripts


def test_all_of_its_scripts_and_modules_can_be_read(other: Path) -> None:
    read = read_what_can_be(other, SD)
    assert set(read.scripts) == set(train_scripts(other, SD))
    assert "networks.lora" in read.networks


@pytest.mark.parametrize("script", ["train_network.py", "sdxl_train_network.py", "flux_train_network.py"])
def test_its_real_parser_has_what_was_read(other: Path, trainer_python: Path, script: str) -> None:
    command = (str(trainer_python), "-c", LIVE, str(other), script.removesuffix(".py"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=other, check=True)
    real = json.loads(done.stdout.strip().splitlines()[-1])
    read = engine_options(SD, script, other)
    assert {
        name: repr(list(o.default) if isinstance(o.default, tuple) else o.default) for name, o in read.items()
    } == real


def test_nearly_every_rule_stands_on_a_line_that_it_has(other: Path) -> None:
    sources = Sources(other)
    rows = [(code, a) for code, scripts in table()[SD.name].items() for found in scripts.values() for a in found]
    lost = {code for code, anchor in rows if sources.find(anchor) is None}
    assert len(lost) < len(table()[SD.name]) / 10, lost


def test_it_trains(other: Path, trainer_python: Path, tmp_path: Path) -> None:
    models, pictures, workspace = tmp_path / "models", tmp_path / "pictures", tmp_path / "ws"
    models.mkdir()
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "KOHYA_RUNNER_SD_SCRIPTS": str(other), "KOHYA_RUNNER_PYTHON": str(trainer_python),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    made_models.put(trainer_python, other, "sd15", models)
    draw(pictures)
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / SD15.recipe), "--json"),
        *(f"--workspace={workspace}", "--allow=hub.offline", *SD15.choices(models, pictures)),
    )
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    assert json.loads((folder / "record.json").read_text(encoding="utf-8"))["state"] == "succeeded"
