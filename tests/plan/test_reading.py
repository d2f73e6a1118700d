from __future__ import annotations

import os
from pathlib import Path

import PIL.Image
import pytest

from kohya_runner import workspace as workspaces
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.scan_cache import NAME
from kohya_runner.plan import data
from kohya_runner.plan.value import Request
from kohya_runner.safe_files import SETTLED
from kohya_runner.workspace import Workspace


@pytest.fixture
def source(odd_path: Path) -> Source:
    folder = odd_path / "pictures"
    folder.mkdir()
    for number in range(3):
        path = folder / f"{number}.png"
        PIL.Image.new("RGB", (64, 64), (number * 80, 0, 0)).save(path)
    return Source(folder, "cat")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written just now count as at rest."""
    monkeypatch.setattr("kohya_runner.safe_files.SETTLED", -SETTLED)


@pytest.fixture
def room(odd_path: Path) -> Workspace:
    return workspaces.choose(str(odd_path / "room"), None, {}, odd_path)


def decoded(source: Source, room: Workspace, **request: object) -> int:
    asked = Request(Path("x.yaml"), **request)  # type: ignore[arg-type]
    return data.read_all((source,), asked, room, None)[0].decoded


def test_a_small_dataset_leaves_nothing_behind(source, room, settled):
    assert decoded(source, room) == 3
    assert not room.root.exists()


def test_a_large_one_is_known_to_the_next_plan(source, room, settled, monkeypatch):
    monkeypatch.setattr(data, "MANY", 3)
    assert (decoded(source, room), decoded(source, room)) == (3, 0)


def test_what_another_command_kept_is_used_and_kept_up(source, room, settled):
    assert decoded(source, room, deep=True) == 3
    PIL.Image.new("RGB", (64, 64), (0, 9, 0)).save(source.folder / "new.png")
    assert decoded(source, room) == 1
    assert decoded(source, room) == 0


def test_fresh_reads_again(source, room, settled):
    decoded(source, room, deep=True)
    assert decoded(source, room, fresh=True) == 3


def test_a_plan_for_elsewhere_makes_no_workspace_here(source, room, settled, monkeypatch):
    monkeypatch.setattr(data, "MANY", 1)
    assert decoded(source, room, elsewhere=True) == 3
    assert not room.root.exists()


def test_an_edit_under_a_restored_time_is_noticed(source, room, settled):
    decoded(source, room, deep=True)
    path = source.folder / "1.png"
    before = path.stat()
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decoded(source, room) == 1
    assert (room.cache / data.CACHE / NAME).is_file()


def test_the_database_is_the_one_that_dataset_check_keeps():
    assert data.NAME == NAME
