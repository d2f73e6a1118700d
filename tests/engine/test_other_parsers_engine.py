"""The snapshots of the engines beside sd-scripts, the static walk and the live parsers say the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kohya_runner.engine_info import EngineInfo, project_root
from kohya_runner.engines.diffusers import DIFFUSERS
from kohya_runner.engines.musubi import MUSUBI_TUNER
from kohya_runner.engines.table import options_for, user_settings
from kohya_runner.install.checkout import find_checkout, find_python, recorded, setup_home
from kohya_runner.options.script_options import Option
from kohya_runner.options.snapshot import encode, matches_snapshot, read_checkout, shipped_file

pytestmark = pytest.mark.daily
WORKER = Path(__file__).with_name("engine_parsers.py")
TYPES = {"path": "Path", "whole_or_float": "_int_or_float", "str": None, "bool": None}


def found(engine: EngineInfo) -> tuple[Path, Path]:
    """Where the engine and its Python are, or a loud reason why the test does not run."""
    settings, home = user_settings(os.environ), setup_home(os.environ)
    done = recorded(home, engine)
    root = find_checkout(None, os.environ, settings=settings, project=project_root(), home=home, engine=engine)
    known = done.python if done else None
    python = find_python(None, os.environ, settings=settings, recorded=known, engine=engine)
    if root is None or python is None:
        pytest.skip(f"NO {engine.name}: name it with ${engine.variable} and ${engine.python_variable}")
    return root.root, python.path


def described(option: Option) -> dict[str, Any]:
    """The option as the live parser describes it."""
    switch = option.kind == "switch"
    return {
        "name": option.name,
        "flags": list(option.flags),
        "action": "_StoreTrueAction" if switch else "_StoreAction",
        "type": TYPES.get(option.type, option.type),
        "nargs": 0 if switch else option.nargs,
        "choices": None if option.choices is None else list(option.choices),
        "default": list(option.default) if isinstance(option.default, tuple) else option.default,
        "required": option.required,
    }


@pytest.mark.parametrize("engine", [MUSUBI_TUNER, DIFFUSERS], ids=lambda engine: engine.name)
def test_snapshot_walk_and_live_parsers_are_one(engine: EngineInfo) -> None:
    root, python = found(engine)
    assert matches_snapshot(root, engine)
    shipped = shipped_file(engine).read_text(encoding="utf-8")
    assert encode(read_checkout(root, engine, engine.commit)) == shipped
    environ = {**os.environ, **engine.env(root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    argv = (python, WORKER, root / engine.folder, engine.entry, *engine.scripts)
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    for script, rows in json.loads(ended.stdout.splitlines()[-1]).items():
        live = [{**row, "type": None if row["type"] == "str" else row["type"]} for row in rows]
        assert repr(live) == repr([described(option) for option in options_for(script, None).rows]), script


def test_the_requirements_are_those_of_musubi_tuners_own_project() -> None:
    tomllib = pytest.importorskip("tomllib")

    root, _ = found(MUSUBI_TUNER)
    stated = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert set(MUSUBI_TUNER.requirements) == {*stated, "tensorboard"}
