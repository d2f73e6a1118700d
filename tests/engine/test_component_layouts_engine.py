"""Component files in right and wrong layouts: what ``plan`` says of them is what the trainer's own loaders do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kohya_runner.artefact.model_identity import identify
from kohya_runner.artefact.model_inspection import Inspected, identity_findings
from kohya_runner.artefact.safetensors_header import Header, Tensor

pytestmark = pytest.mark.daily
CHILD = Path(__file__).with_name("layout_child.py")


def rows(engine: str, checkout: Path, python: Path, folder: Path) -> list[dict]:
    command = [str(part) for part in (python, "-B", CHILD, engine, checkout, folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"family"')]


def refused(row: dict) -> bool:
    tensors = tuple(Tensor(name, "F16", tuple(shape), 0, 0) for name, shape in row["shapes"].items())
    seen = Inspected(row["slot"], "component.safetensors", identity=identify(Header(tensors, {}, 0)))
    return bool(identity_findings([seen], family=row["family"]))


@pytest.mark.parametrize("engine", ["sd-scripts", "musubi"])
def test_what_is_said_of_a_layout_is_what_the_loader_does(engine, request, tmp_path):
    names = ("musubi_tuner", "musubi_python") if engine == "musubi" else ("sd_scripts", "trainer_python")
    found = rows(engine, *(request.getfixturevalue(name) for name in names), tmp_path)
    fates = [(row["slot"], row["kind"], row["whole"]) for row in found]
    assert [(row["slot"], row["kind"], not refused(row)) for row in found] == fates
    assert {fate for _, _, fate in fates} == {True, False}
