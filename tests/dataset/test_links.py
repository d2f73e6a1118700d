"""A link of a dataset that leads out of it is not followed, unless somebody says so."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import draw

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.folder_checks import check_datasets
from kohya_runner.dataset.survey import survey

SECRET = "hf_thisIsNobodysToken"


@pytest.fixture
def source(odd_path: Path) -> Source:
    folder, home = odd_path / "cats", odd_path / "home"
    folder.mkdir()
    home.mkdir()
    (home / "token").write_text(SECRET, encoding="utf-8")
    draw(home / "photo.png")
    draw(folder / "a.png")
    draw(folder / "b.png")
    (folder / "a.txt").symlink_to(home / "token")
    (folder / "b.txt").write_text("a cat", encoding="utf-8")
    (folder / "c.png").symlink_to(home / "photo.png")
    (folder / "c.txt").write_text("a photo", encoding="utf-8")
    return Source(folder, "cat")


def codes(scan):
    return {f.code for f in check_datasets((scan,))}


def test_neither_text_nor_picture_is_read(source):
    scan = survey(source).scan
    assert SECRET not in repr(scan)
    found = [f for f in check_datasets((scan,)) if f.code == "dataset.link"]
    assert [f.severity.value for f in found] == ["error"]
    assert "2 files are not read: c.png, a.txt" in found[0].message
    assert "token" not in found[0].message
    assert codes(scan).isdisjoint({"image.unreadable", "caption.unreadable"})


@pytest.mark.parametrize("how", ["follow", "roots"])
def test_what_was_allowed_is_read(source, odd_path, how):
    allowed = replace(source, follow=True) if how == "follow" else replace(source, roots=(odd_path / "home",))
    scan = survey(allowed).scan
    assert "dataset.link" not in codes(scan)
    assert SECRET in repr(scan)


def test_links_inside_the_dataset_and_to_the_blobs_of_the_hub_are_followed(odd_path):
    repo = odd_path / "datasets--a--b"
    folder = repo / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (repo / "blobs").mkdir()
    draw(repo / "blobs" / "1.png")
    (folder / "a.png").symlink_to("../../blobs/1.png")
    (folder / "b.png").symlink_to("a.png")
    assert [image.problem for image in survey(Source(folder, "cat")).scan.images] == ["", ""]


def test_a_kernel_file_and_a_pipe_are_never_opened(source):
    (source.folder / "d.png").symlink_to("/proc/self/environ")
    os.mkfifo(source.folder / "e.png")
    images = {i.path.name: i.problem for i in survey(replace(source, follow=True)).scan.images}
    assert "kernel" in images["d.png"]
    assert images["e.png"]
