"""The shipped snapshot of musubi-tuner's options, the static walk and the real parsers say the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from musubi_rig import environment
from test_options_engine import _as_live

from kohya_runner.trainers import snapshot
from kohya_runner.trainers.engines import MUSUBI_TUNER
from kohya_runner.trainers.options import matches_snapshot, options_for
from kohya_runner.trainers.snapshot import encode, read_checkout

pytestmark = pytest.mark.engine

TYPES = {"str": None, "_int_or_float": "whole_or_float"}
"""What the parsers call types, and what the snapshot does."""
CHILD = Path(__file__).with_name("musubi_parsers.py")


def test_the_snapshot_is_the_static_walk_of_the_pinned_checkout(musubi_tuner: Path):
    shipped = Path(snapshot.__file__).with_name(MUSUBI_TUNER.snapshot).read_text(encoding="utf-8")
    assert encode(read_checkout(musubi_tuner, MUSUBI_TUNER.commit, MUSUBI_TUNER)) == shipped
    assert matches_snapshot(musubi_tuner, MUSUBI_TUNER)


@pytest.mark.skipif(os.environ.get("KOHYA_MUSUBI_ENGINE") != "all", reason="KOHYA_MUSUBI_ENGINE=all asks the parsers")
def test_the_real_parsers_have_exactly_the_snapshots_options(musubi_tuner: Path, musubi_python: Path, tmp_path: Path):
    command = (str(musubi_python), str(CHILD), *MUSUBI_TUNER.scripts)
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment(tmp_path, musubi_tuner), cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    for script, rows in json.loads(ended.stdout).items():
        real = [{**row, "type": TYPES.get(row["type"], row["type"])} for row in rows]
        assert repr(real) == repr([_as_live(option) for option in options_for(script, None).rows]), script
