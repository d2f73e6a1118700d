"""Links of a workspace that somebody else filled do not lead writes out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.machine.filesystems import link_findings
from kohya_runner.workspace import Workspace


@pytest.mark.parametrize("name", ["cache/huggingface", "models", "datasets/cat", "runs/cat", "runs/cat/.active.guard",
                                  "runs/cat/001/trainer.log", "runs"])  # fmt: skip
def test_a_link_that_leads_out_is_an_error(odd_path: Path, name: str):
    room, outside = Workspace(odd_path / "ws"), odd_path / "precious"
    outside.mkdir()
    link = room.root / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    found = list(link_findings(room, "cat", ()))
    assert [f.code for f in found] == ["disk.link"]
    assert str(link) in found[0].message
    assert list(link_findings(room, "cat", (outside,))) == []


def test_a_link_within_is_none_and_other_runs_are_not_asked_about(odd_path: Path):
    room = Workspace(odd_path / "ws")
    (room.runs / "cat" / "001").mkdir(parents=True)
    (room.runs / "cat" / "001" / "cat-picked.safetensors").symlink_to("cat-000001.safetensors")
    (room.runs / "dog").symlink_to(odd_path)
    assert list(link_findings(room, "cat", ())) == []
