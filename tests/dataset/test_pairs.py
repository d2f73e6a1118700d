from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.dataset.edit import check_pairs, read_conditions
from kohya_runner.dataset.edit_layout import with_conditions
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.layout import plan_layout, with_metadata
from kohya_runner.dataset.survey import survey
from kohya_runner.dataset.tree_build import build, is_intact


def draw(folder: Path, *names: str, size: tuple[int, int] = (32, 24), seed: int = 0, caption: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    for name in names:
        Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1])).save(folder / name)
        if caption:
            (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder


@pytest.fixture
def sets(odd_path: Path) -> tuple[Path, Path]:
    pictures = draw(odd_path / "my pictures", "a.png", "b.PNG", caption="a, b")
    return pictures, draw(odd_path / "it's edges", "a.jpg", "b.png", seed=1)


def paired(pictures: Path, conditions: Path):
    return read_conditions(survey(Source(pictures, "pairs", where="r.yaml:1:1")).scan, conditions, "r.yaml:2:1")


def codes(pair, *, buckets: bool = True) -> list[str]:
    return [finding.code for finding in check_pairs(pair, buckets=buckets)]


def test_pairs_that_fit_have_no_fault(sets):
    assert codes(paired(*sets)) == []


def test_a_picture_without_a_condition_image_is_an_error(sets):
    draw(sets[0], "c.png")
    (finding,) = check_pairs(paired(*sets), buckets=True)
    assert (finding.code, finding.severity.value, finding.where) == ("dataset.pair_missing", "error", "r.yaml:2:1")
    assert "c.png" in finding.message


def test_a_surplus_condition_image_is_left_out(sets, odd_path):
    draw(sets[1], "c.png")
    pair = paired(*sets)
    assert codes(pair) == ["dataset.pair_surplus"]
    layout = with_conditions(plan_layout([pair.pictures], odd_path / "ws", "s"), [pair])
    assert [len(folder.entries) for folder in layout.conditions] == [2]


def test_another_size_stops_the_trainer_with_buckets_alone(sets):
    draw(sets[1], "b.png", size=(64, 48), seed=1)
    assert codes(paired(*sets)) == ["image.pair_size"]
    assert codes(paired(*sets), buckets=False) == []


def test_another_shape_is_squeezed_without_buckets(sets):
    draw(sets[1], "b.png", size=(64, 64), seed=1)
    (finding,) = check_pairs(paired(*sets), buckets=False)
    assert (finding.code, finding.severity.value) == ("image.pair_size", "warning")


def test_a_picture_that_is_its_own_condition_is_told(sets):
    (sets[1] / "b.png").write_bytes((sets[0] / "b.PNG").read_bytes())
    assert codes(paired(*sets)) == ["image.pair_same"]


def test_a_condition_image_that_cannot_be_read_is_an_error(sets):
    (sets[1] / "b.png").write_bytes(b"no picture")
    assert codes(paired(*sets)) == ["image.condition", "dataset.pair_missing"]


def test_a_folder_that_is_not_there_is_one_error(sets, odd_path):
    assert codes(paired(sets[0], odd_path / "none")) == ["dataset.conditioning"]


def test_both_are_laid_out_under_one_stem(sets, odd_path):
    pair = paired(*sets)
    layout = with_conditions(plan_layout([pair.pictures], odd_path / "ws", "s"), [pair])
    build(layout)
    assert is_intact(layout)
    pictures = sorted(path.stem for path in layout.train_dir.iterdir() if path.suffix != ".txt")
    assert pictures == sorted(path.stem for path in layout.conditioning_dir.iterdir())
    assert len(pictures) == 2
    assert len(list(layout.train_dir.glob("*.txt"))) == 2


def test_another_condition_image_makes_another_tree(sets, odd_path):
    first = paired(*sets)
    before = with_conditions(plan_layout([first.pictures], odd_path / "ws", "s"), [first])
    draw(sets[1], "b.png", seed=9)
    second = paired(*sets)
    after = with_conditions(plan_layout([second.pictures], odd_path / "ws", "s"), [second])
    assert before.key != after.key


def test_a_stray_condition_image_is_not_taken_for_one_of_the_tree(sets, odd_path):
    pair = paired(*sets)
    layout = with_conditions(plan_layout([pair.pictures], odd_path / "ws", "s"), [pair])
    build(layout)
    draw(layout.conditioning_dir, "another.png")
    assert not is_intact(layout)


def test_the_metadata_file_names_every_picture_with_caption_and_size(sets, odd_path):
    draw(sets[0], "c.png")
    layout = with_metadata(plan_layout([survey(Source(sets[0], "cat", repeats=3)).scan], odd_path / "ws", "s"))
    build(layout)
    rows = json.loads(layout.metadata_file.read_text(encoding="utf-8"))
    assert all((layout.train_dir / key).is_file() for key in rows)
    assert sorted(row["caption"] for row in rows.values()) == ["a, b", "a, b", "cat"]
    assert {tuple(row["image_size"]) for row in rows.values()} == {(32, 24)}
    assert is_intact(layout)
    layout.metadata_file.write_text("{}", encoding="utf-8")
    assert not is_intact(layout)
