"""A small data set and the practice trainer for the tests of a run."""

from __future__ import annotations

import PIL.Image
import pytest
from practice_runs import Practice


@pytest.fixture
def train_dir(odd_path):
    """Four small images in one repeat folder."""
    folder = odd_path / "data" / "1_my cat"
    folder.mkdir(parents=True)
    for number in range(4):
        PIL.Image.new("RGB", (64, 64)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat", encoding="utf-8")
    return folder.parent


@pytest.fixture
def practice(odd_path, train_dir):
    made = Practice(odd_path, train_dir)
    yield made
    made.clean_up()
