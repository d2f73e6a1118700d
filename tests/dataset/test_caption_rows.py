"""metadata.json and metadata.jsonl as datasets: read, judged, laid out as the trainer reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pictures import draw

from kohya_runner.dataset.caption_rows import read_rows
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.layout import plan_layout
from kohya_runner.dataset.survey import survey
from kohya_runner.dataset.tree_build import build, is_intact

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "it's a data set"
    (found / "more").mkdir(parents=True)
    for name, size in (("one.png", (64, 48)), ("two.png", (32, 32)), ("more/one.png", (16, 16))):
        draw(found / name, size)
    return found


def jsonl(folder: Path, rows: Sequence[Any]) -> Path:
    path = folder / "metadata.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def source(path: Path) -> Source:
    return Source(path.parent, "lad", 2, where="recipe.yaml:1:1", metadata=path)


@pytest.mark.parametrize("picture", ["file_name", "image", "image_path"])
@pytest.mark.parametrize("caption", ["text", "caption", "prompt"])
def test_the_usual_spellings_of_a_row_are_taken(folder: Path, picture: str, caption: str):
    rows = read_rows(jsonl(folder, [{picture: "one.png", caption: "a lad, #ff0000", "other": 1}]))
    assert [(row.name, row.caption) for row in rows.rows] == [("one.png", "a lad, #ff0000")]
    assert rows.faults == ()


def test_a_list_in_a_json_file_is_as_good_as_lines(folder: Path):
    path = folder / "metadata.json"
    path.write_text(json.dumps([{"image": "two.png", "caption": "b"}, {"image": "one.png", "caption": "a"}]), "utf-8")
    assert [(row.name, row.caption) for row in read_rows(path).rows] == [("one.png", "a"), ("two.png", "b")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "../one.png"}, "leads out of the folder"),
        ({"image": "more/../../one.png"}, "leads out of the folder"),
        ({"image": "/etc/one.png"}, "leads out of the folder"),
        ({"image": "C:\\one.png"}, "leads out of the folder"),
        ({"image": "notes.txt"}, "is not an image the trainer reads"),
        ({"text": "a"}, "names no picture"),
        ({"image": 7}, "names no picture"),
        ({"image": "two.png", "text": ["a"]}, "a caption that is not text"),
        ("[1]", "is not a JSON object"),
        ("{", "has no key in double quotes here"),
        ({"image": "./one.png", "text": "b"}, "again"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(folder: Path, row: Any, said: str):
    path = jsonl(folder, [{"image": "one.png", "text": "a"}, row])
    rows = read_rows(path)
    assert [row.name for row in rows.rows] == ["one.png"]
    ((where, what),) = rows.faults
    assert where.startswith(f"{path}:2:")
    assert said in what


def test_many_wrong_rows_are_a_handful_of_findings(folder: Path):
    findings = list(read_rows(jsonl(folder, ["{"] * 40)).findings())
    assert len(findings) == 6
    assert "35 more rows" in findings[-1].message


def test_triples_of_the_edit_methods_are_told_apart(folder: Path):
    rows = read_rows(jsonl(folder, [{"input_image": "one.png", "instruction": "red", "output_image": "two.png"}]))
    assert rows.edits
    assert rows.rows == ()


def test_the_pictures_of_the_rows_alone_are_read_with_the_captions_of_the_rows(folder: Path):
    (folder / "one.txt").write_text("another caption", encoding="utf-8")
    path = jsonl(folder, [{"image": "more/one.png", "text": "small"}, {"image": "one.png", "text": " large \nmore"}])
    scan = survey(source(path)).scan
    assert [(image.path, image.width) for image in scan.images] == [
        (folder / "more/one.png", 16),
        (folder / "one.png", 64),
    ]
    assert [(c.text, c.lines) for image in scan.images if (c := image.caption)] == [("small", 1), ("large", 2)]


def test_a_row_without_a_picture_on_the_disk_is_a_broken_image(folder: Path):
    (image,) = survey(source(jsonl(folder, [{"image": "gone.png", "text": "a"}]))).scan.images
    assert "cannot be read" in image.problem


def test_the_laid_out_tree_has_each_caption_beside_its_picture_and_never_twice_one_name(folder: Path, tmp_path: Path):
    path = jsonl(folder, [{"image": "more/one.png", "text": "small é"}, {"image": "one.png", "text": "large"}])
    layout = plan_layout([survey(source(path)).scan], tmp_path / "trees", "key")
    build(layout)
    laid = layout.train_dir / "2_lad"
    captions = {file.stem: file.read_text("utf-8") for file in laid.glob("*.txt")}
    pictures = {file.stem: file.resolve() for file in laid.glob("*.png")}
    assert {pictures[stem]: text for stem, text in captions.items()} == {
        (folder / "more/one.png").resolve(): "small é",
        (folder / "one.png").resolve(): "large",
    }
    assert is_intact(layout)
    assert not build(layout).created


def test_a_caption_that_somebody_changed_in_the_tree_is_written_again(folder: Path, tmp_path: Path):
    layout = plan_layout([survey(source(jsonl(folder, [{"image": "one.png", "text": "a"}]))).scan], tmp_path / "t", "k")
    build(layout)
    (caption,) = layout.train_dir.glob("2_lad/*.txt")
    caption.write_text("b", encoding="utf-8")
    assert not is_intact(layout)
    assert build(layout).created
    assert caption.read_text("utf-8") == "a"


def test_another_caption_in_a_row_is_another_tree(folder: Path, tmp_path: Path):
    keys = {
        plan_layout([survey(source(jsonl(folder, [{"image": "one.png", "text": text}]))).scan], tmp_path, "k").key
        for text in ("a", "b")
    }
    assert len(keys) == 2


def test_half_a_sign_in_a_caption_is_a_caption_that_cannot_be_read(folder: Path, tmp_path: Path):
    scan = survey(source(jsonl(folder, ['{"image": "one.png", "text": "\\ud83d"}']))).scan
    (image,) = scan.images
    assert image.caption
    assert image.caption.problem == "not UTF-8"
    build(plan_layout([scan], tmp_path / "t", "k"))
