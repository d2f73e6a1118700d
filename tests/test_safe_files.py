from __future__ import annotations

import os
from pathlib import Path

import pytest

from kohya_runner.safe_files import UnsafePathError, is_inside, link_out, open_file, open_for_write, special


def test_a_link_that_leads_out_is_found_wherever_it_stands(odd_path: Path):
    root, outside = odd_path / "workspace", odd_path / "elsewhere"
    (outside / "a").mkdir(parents=True)
    root.mkdir()
    (root / "runs").symlink_to(outside)
    assert link_out(root, root / "runs" / "a" / "output") == root / "runs"


def test_a_link_that_stays_inside_is_no_way_out(odd_path: Path):
    (odd_path / "big").mkdir()
    (odd_path / "runs").symlink_to("big")
    assert link_out(odd_path, odd_path / "runs" / "001") is None


def test_the_root_may_be_a_link(odd_path: Path):
    (odd_path / "disk").mkdir()
    (odd_path / "workspace").symlink_to(odd_path / "disk")
    assert link_out(odd_path / "workspace", odd_path / "workspace" / "runs") is None
    assert is_inside(odd_path / "disk" / "runs", (odd_path / "workspace",))


def test_a_neighbour_with_the_same_beginning_is_outside(odd_path: Path):
    assert not is_inside(odd_path / "data-secret", (odd_path / "data",))


def test_a_pipe_a_kernel_file_and_a_device_are_not_opened(odd_path: Path):
    os.mkfifo(odd_path / "pipe")
    (odd_path / "kernel").symlink_to("/proc/self/environ")
    for path, said in (
        (odd_path / "pipe", "named pipe"),
        (odd_path / "kernel", "kernel"),
        (Path("/dev/zero"), "device"),
    ):
        assert said in special(odd_path / path)
        with pytest.raises(UnsafePathError, match=said):
            open_file(odd_path / path)


def test_a_file_is_opened(odd_path: Path):
    (odd_path / "a.txt").write_bytes(b"words")
    assert special(odd_path / "a.txt") == ""
    with open_file(odd_path / "a.txt") as file:
        assert file.read() == b"words"


def test_nothing_is_written_through_a_link(odd_path: Path):
    (odd_path / "precious").write_text("kept", encoding="utf-8")
    (odd_path / "log").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic"):
        open_for_write(odd_path / "log")
    assert (odd_path / "precious").read_text(encoding="utf-8") == "kept"
    os.mkfifo(odd_path / "pipe")
    with pytest.raises(OSError):
        open_for_write(odd_path / "pipe")
    os.close(open_for_write(odd_path / "new"))
    assert (odd_path / "new").stat().st_mode & 0o777 == 0o600
