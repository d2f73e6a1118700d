from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest
from pictures import draw, scanned, source

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.scan_cache import NAME, ScanCache
from kohya_runner.dataset.survey import Survey, survey
from kohya_runner.safe_files import SETTLED


@pytest.fixture
def folder(odd_path: Path) -> Path:
    folder = odd_path / 'it\'s "pictures"'
    for number in range(12):
        draw(folder / f"{number}.png", colour=number)
    (folder / "0.txt").write_text("a cat", encoding="utf-8")
    return folder


def later() -> int:
    """A clock by which all files of the test are at rest."""
    return time.time_ns() + 2 * SETTLED


def read(folder: Path, cache: Path, **more: bool) -> Survey:
    with ScanCache(cache, clock=later, **more) as kept:
        return survey(source(folder), kept)


def test_a_survey_holds_the_scan(folder: Path):
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "orphan.txt").write_text("x", encoding="utf-8")
    (folder / "sub").mkdir()
    found = survey(source(folder))
    assert [i.path.name for i in found.scan.images if i.problem] == ["broken.png"]
    assert (found.scan.orphans, found.scan.subfolders) == ((folder / "orphan.txt",), (("sub", 0),))
    assert [traits is None for traits in found.traits] == [bool(i.problem) for i in found.scan.images]


def test_the_second_time_nothing_is_decoded_and_all_is_the_same(folder: Path, odd_path: Path):
    first, second = read(folder, odd_path), read(folder, odd_path)
    assert (first.decoded, second.decoded) == (12, 0)
    assert (second.scan, second.traits) == (first.scan, first.traits)


def test_an_edit_under_a_restored_mtime_is_noticed(folder: Path, odd_path: Path):
    read(folder, odd_path)
    path = folder / "3.png"
    before, size = path.stat(), path.stat().st_size
    data = bytearray(path.read_bytes())
    draw(path, colour=200)
    path.write_bytes(path.read_bytes()[:size].ljust(size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert path.read_bytes() != bytes(data)
    again = read(folder, odd_path)
    assert again.decoded == 1
    assert again.scan == scanned(folder)


def test_another_file_under_the_name_is_noticed(folder: Path, odd_path: Path):
    read(folder, odd_path)
    (folder / "4.png").rename(folder / "spare")
    (folder / "5.png").rename(folder / "4.png")
    (folder / "spare").rename(folder / "5.png")
    assert read(folder, odd_path).scan == scanned(folder)


def test_a_changed_caption_is_always_read(folder: Path, odd_path: Path):
    read(folder, odd_path)
    (folder / "0.txt").write_text("a dog", encoding="utf-8")
    caption = read(folder, odd_path).scan.images[0].caption
    assert caption is not None
    assert caption.text == "a dog"


def test_fresh_decodes_all_again_and_keeps_it(folder: Path, odd_path: Path):
    read(folder, odd_path)
    assert read(folder, odd_path, fresh=True).decoded == 12
    assert read(folder, odd_path).decoded == 0


def test_a_file_changed_just_now_is_not_kept(folder: Path, odd_path: Path):
    with ScanCache(odd_path) as kept:
        survey(source(folder), kept)
    assert read(folder, odd_path).decoded == 12


def test_a_file_that_cannot_be_read_is_tried_again(folder: Path, odd_path: Path):
    (folder / "broken.png").write_bytes(b"no picture")
    assert [read(folder, odd_path).decoded for _ in range(2)] == [13, 1]


def test_what_is_gone_from_the_folder_is_forgotten(folder: Path, odd_path: Path):
    read(folder, odd_path)
    (folder / "7.png").unlink()
    read(folder, odd_path)
    with sqlite3.connect(odd_path / NAME) as database:
        assert database.execute("SELECT count(*) FROM pictures").fetchone() == (11,)


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, b"SQLite format 3\0" + bytes(200)])
def test_a_damaged_cache_costs_speed_and_nothing_else(folder: Path, odd_path: Path, damage: bytes):
    (odd_path / NAME).write_bytes(damage)
    assert read(folder, odd_path).scan == scanned(folder)
    assert read(folder, odd_path).decoded == 0


def test_a_cache_of_another_version_is_made_anew(folder: Path, odd_path: Path):
    read(folder, odd_path)
    with sqlite3.connect(odd_path / NAME) as database:
        database.execute("PRAGMA user_version=1")
    assert [read(folder, odd_path).decoded for _ in range(2)] == [12, 0]


def test_a_place_that_cannot_be_written_is_told_and_survived(folder: Path, odd_path: Path):
    (odd_path / "file").write_bytes(b"")
    with ScanCache(odd_path / "file" / "below") as kept:
        assert kept.problem
        assert survey(source(folder), kept).decoded == 12


def test_a_reader_makes_no_file(folder: Path, odd_path: Path):
    assert read(folder, odd_path / "none", readonly=True).decoded == 12
    assert not (odd_path / "none").exists()


def test_a_reader_uses_what_others_kept_and_writes_nothing(folder: Path, odd_path: Path):
    cache = odd_path / "cache"
    read(folder, cache)
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    draw(folder / "new.png", colour=99)
    assert [read(folder, cache, readonly=True).decoded for _ in range(2)] == [1, 1]
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == before == {NAME: before[NAME]}


def test_a_reader_needs_no_right_to_write(folder: Path, odd_path: Path):
    cache = odd_path / "cache"
    read(folder, cache)
    (cache / NAME).chmod(0o444)
    cache.chmod(0o555)
    assert read(folder, cache, readonly=True).decoded == 0


def test_bytes_that_are_no_text_in_a_name_are_kept_too(folder: Path, odd_path: Path):
    name = os.fsencode(folder) + b"/caf\xe9.png"
    PIL.Image.new("RGB", (4, 4)).save(folder / "cafe.png")
    (folder / "cafe.png").rename(Path(os.fsdecode(name)))
    assert [read(folder, odd_path).decoded for _ in range(2)] == [13, 0]


CHILD = """
import sys, time
from pathlib import Path
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.scan_cache import ScanCache
from kohya_runner.dataset.survey import survey
with ScanCache(Path(sys.argv[2]), fresh=True, clock=lambda: time.time_ns() + 10**10) as kept:
    for _ in range(5):
        survey(Source(Path(sys.argv[1]), "x"), kept)
        kept.flush()
    sys.exit(1 if kept.problem else 0)
"""


def test_two_processes_at_once_do_not_disturb_each_other(folder: Path, odd_path: Path):
    for number in range(100):
        draw(folder / f"more {number}.png", colour=number)
    command = (sys.executable, "-c", CHILD, str(folder), str(odd_path))
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [child.communicate(timeout=180)[1] for child in children] == [b"", b""]
    assert [child.returncode for child in children] == [0, 0]
    assert read(folder, odd_path).decoded == 0


def test_progress_is_told_from_the_cache_too(folder: Path, odd_path: Path):
    read(folder, odd_path)
    told: list[tuple[int, int]] = []
    with ScanCache(odd_path, clock=later) as kept:
        survey(Source(folder, "x"), kept, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 12) for number in range(1, 13)]
