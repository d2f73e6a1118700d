from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import draw, pair, scanned

from kohya_runner.dataset.layout import concept_problem, plan_layout

ROOT = Path("/workspace/datasets/x")


def test_folders_are_named_by_repeats_and_concept(odd_path: Path) -> None:
    pair(odd_path / "a", "one")
    draw(odd_path / "b" / "two.png")
    scans = [
        scanned(odd_path / "a", concept="bespoke_baby", repeats=10),
        scanned(odd_path / "b", concept="baby", regularization=True),
    ]
    layout = plan_layout(scans, ROOT, "s")
    assert [(f.name, f.images, f.captions, f.regularization) for f in layout.folders] == [
        ("10_bespoke_baby", 1, 1, False),
        ("1_baby", 1, 0, True),
    ]
    assert layout.train_dir == ROOT / layout.key / "train"
    assert layout.reg_dir == ROOT / layout.key / "reg"


def test_without_regularization_images_there_is_no_reg_dir(odd_path: Path) -> None:
    pair(odd_path, "a")
    assert plan_layout([scanned(odd_path)], ROOT, "s").reg_dir is None


def test_no_laid_out_stem_begins_another(odd_path: Path) -> None:
    for stem in ("cat", "cat2", "cat_2", "ca"):
        pair(odd_path, stem)
    draw(odd_path / "cat.JPG")
    (folder,) = plan_layout([scanned(odd_path)], ROOT, "s").folders
    stems = [os.path.splitext(entry.name)[0] for entry in folder.entries]  # noqa: PTH122
    assert not [(a, b) for a in stems for b in stems if a is not b and b.startswith(a)]


def test_names_keep_the_source_s_stem_and_a_lower_case_extension(odd_path: Path) -> None:
    pair(odd_path, "it's a.b").rename(odd_path / "it's a.b.Png")
    (entry,) = plan_layout([scanned(odd_path)], ROOT, "s").folders[0].entries
    assert entry.name[8:] == "-it's a.b.png"
    assert entry.caption == f"{entry.name[:-4]}.txt"


def test_an_extension_without_a_dot_gets_one(odd_path: Path) -> None:
    pair(odd_path, "a")
    scan = scanned(odd_path, rules={"extension": "txt"})
    (entry,) = plan_layout([scan], ROOT, "s", caption_extension="txt").folders[0].entries
    assert entry.caption.endswith("-a.txt")


def test_captions_get_the_one_extension_the_trainer_is_told(odd_path: Path) -> None:
    draw(odd_path / "a.png")
    (odd_path / "a.caption").write_text("x", encoding="utf-8")
    scan = scanned(odd_path, rules={"extension": ".caption"})
    (entry,) = plan_layout([scan], ROOT, "s", caption_extension=".txt").folders[0].entries
    assert entry.caption.endswith("-a.txt")


def test_two_entries_of_one_concept_share_a_folder(odd_path: Path) -> None:
    pair(odd_path / "a", "same")
    pair(odd_path / "b", "same")
    (folder,) = plan_layout([scanned(odd_path / "a"), scanned(odd_path / "b")], ROOT, "s").folders
    assert len({entry.name for entry in folder.entries}) == 2


def test_a_folder_named_twice_is_laid_out_twice(odd_path: Path) -> None:
    pair(odd_path, "a")
    (folder,) = plan_layout([scanned(odd_path), scanned(odd_path)], ROOT, "s").folders
    assert len({entry.name for entry in folder.entries}) == 2


def test_what_the_trainer_cannot_read_is_left_out(odd_path: Path) -> None:
    pair(odd_path, "broken").write_bytes(b"")
    pair(odd_path, "no caption", "")
    (entry,) = plan_layout([scanned(odd_path)], ROOT, "s").folders[0].entries
    assert (entry.image.path.name, entry.caption) == ("no caption.png", "")


def test_a_very_long_stem_leaves_room_for_the_cache_s_name(odd_path: Path) -> None:
    pair(odd_path, "ü" * 120 + "_1_2_3_4")
    (entry,) = plan_layout([scanned(odd_path)], ROOT, "s").folders[0].entries
    assert len(entry.name.encode()) < 140
    assert entry.name.endswith("ü_1_2_3_4.png")


def test_a_name_that_is_no_text_becomes_one(odd_path: Path) -> None:
    os.rename(draw(odd_path / "a.png"), os.fsencode(odd_path) + b"/\xff\n.png")  # noqa: PTH104 - bytes
    (entry,) = plan_layout([scanned(odd_path)], ROOT, "s").folders[0].entries
    assert entry.name[8:] == "-__.png"


def test_the_key_stays_where_nothing_changes(odd_path: Path) -> None:
    pair(odd_path, "a")
    keys = {plan_layout([scanned(odd_path)], ROOT, "s").key for _ in range(2)}
    assert len(keys) == 1
    assert len(keys.pop()) == 12


def test_the_key_changes_with_all_that_decides_the_tree(odd_path: Path) -> None:
    pair(odd_path, "a", "first")
    scan = scanned(odd_path)
    keys = [plan_layout([scan], ROOT, "s").key, plan_layout([scan], ROOT, "t").key]
    keys += [plan_layout([replace(scan, source=replace(scan.source, repeats=2))], ROOT, "s").key]
    pair(odd_path, "a", "second")
    keys += [plan_layout([scanned(odd_path)], ROOT, "s").key]
    pair(odd_path, "a", "second", colour=9)
    keys += [plan_layout([scanned(odd_path)], ROOT, "s").key]
    assert len(set(keys)) == 5


@pytest.mark.parametrize("name", ["bespoke_baby", "my cat", "10_cat", "ünï", "a.b", "_x_"])
def test_a_good_concept_has_no_problem(name: str) -> None:
    assert concept_problem(name) is None


@pytest.mark.parametrize("name", ["", "_", "___", " a", "a ", "a/b", "a\nb", "a\0", ".hidden", "x" * 201, "\udcff"])
def test_a_concept_that_makes_no_folder_has_a_problem(name: str) -> None:
    assert concept_problem(name)
