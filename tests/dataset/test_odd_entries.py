from __future__ import annotations

import os
from pathlib import Path

from pictures import pair, scanned

from kohya_runner.dataset.folder_checks import check_datasets
from kohya_runner.dataset.tree_build import prune


def test_a_pipe_as_caption_is_unreadable_and_does_not_hang(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "a.txt").unlink()
    os.mkfifo(odd_path / "a.txt")
    codes = {finding.code for finding in check_datasets([scanned(odd_path)])}
    assert "caption.unreadable" in codes


def test_a_link_to_itself_is_one_bad_file_not_a_bad_folder(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "self.png").symlink_to("self.png")
    (odd_path / "loop").symlink_to("loop")
    found = scanned(odd_path)
    assert found.problem == ""
    assert len(found.images) == 2
    assert "image.unreadable" in {finding.code for finding in check_datasets([found])}


def test_a_folder_that_only_looks_like_a_tree_is_never_removed(odd_path: Path) -> None:
    mine = odd_path / "deadbeef1234"
    mine.mkdir()
    (mine / "picture.png").touch()
    assert prune(odd_path, set()) == ()
    assert (mine / "picture.png").exists()
