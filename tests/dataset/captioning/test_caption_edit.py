"""Captions edited in bulk: what changes, where it is written, and the way back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pictures import draw, pair

from kohya_runner.dataset.captioning.caption_edit import CaptionEdit, apply, planned, reviewed, undone
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.review import Review, write_review
from kohya_runner.errors import DatasetError, UsageError


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        ({"prefix": "pixel art, "}, "a cat", "pixel art, a cat"),
        ({"prefix": "pixel art, "}, "pixel art, a cat", "pixel art, a cat"),
        ({"suffix": ", sharp"}, "a cat", "a cat, sharp"),
        ({"suffix": ", sharp"}, "a cat, sharp", "a cat, sharp"),
        ({"replace": (("cat", "dog"), ("dog", "cow"))}, "a cat", "a cow"),
        ({"replace": (("cat", "a\nb"),)}, "cat", "a b"),
        ({"replace_regex": ((r"(\d+)x\1", r"\1 pixels"),)}, "24x24 art", "24 pixels art"),
        ({"remove": ("blurry", "b")}, "a, blurry, b, blurry b", "a, blurry b"),
        ({"dedupe": True}, "a, b, a,b", "a, b"),
        ({"sort": True}, "b, A, c", "A, b, c"),
        ({"order": ("c", "b")}, "a, b, c", "c, b, a"),
        ({"trigger": "sks"}, "a, sks", "sks, a"),
        ({"remove": ("x",), "prefix": "p, ", "trigger": "t"}, "x, a", "t, p, a"),
        ({"prefix": "p "}, "one\n\ntwo", "p one\n\np two"),
        ({"trigger": "t"}, "  spaced,  text ", "t,   spaced,  text "),
    ],
)  # fmt: skip
def test_a_caption_is_changed_in_this_order(edit: dict, before: str, after: str):
    assert CaptionEdit(**edit).of(before) == after


@pytest.fixture
def folder(odd_path: Path) -> Path:
    for number, text in enumerate(("a cat", "a cat, blurry", "blurry")):
        pair(odd_path / "cat", str(number), text, colour=number)
    draw(odd_path / "cat" / "3.png")
    return odd_path / "cat"


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8").rstrip("\n") for path in sorted(folder.glob("*.txt"))}


def applied(plan, folder: Path) -> Path:
    return apply(plan, output=None, prepared=folder.parent / "ws")


def test_what_changes_is_known_before_and_a_caption_is_never_emptied(folder: Path):
    before = {path.name: path.stat() for path in folder.iterdir()}
    plan = planned(folder, CaptionEdit(remove=("blurry",)))
    assert [(one.file, one.before, one.after) for one in plan.changes] == [("1.png", "a cat, blurry", "a cat")]
    assert [finding.code for finding in plan.findings] == ["caption.failed"]
    assert not (folder.parent / "ws").exists()
    made = applied(plan, folder)
    assert texts(made) == {"0": "a cat", "1": "a cat", "2": "blurry"}
    assert (made / "3.png").is_file()
    assert {path.name: path.stat() for path in folder.iterdir()} == before


def test_each_edit_can_be_undone_and_so_back_to_the_beginning(folder: Path):
    first = applied(planned(folder, CaptionEdit(prefix="p, ")), folder)
    second = applied(planned(first, CaptionEdit(suffix=", s")), folder)
    assert texts(second)["0"] == "p, a cat, s"
    third = applied(undone(second), folder)
    assert [one.name for one in (first, second, third)] == ["001", "002", "003"]
    assert texts(third) == texts(first)
    fourth = applied(undone(third), folder)
    assert texts(fourth) == texts(folder)
    for last in (fourth, folder):
        with pytest.raises(UsageError, match="nothing to undo"):
            undone(last)


def test_a_pattern_that_takes_for_ever_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kohya_runner.dataset.captioning.caption_edit.PATTERN_SECONDS", 0.2)
    (folder / "0.txt").write_text("a" * 60 + "!", encoding="utf-8")
    begun = time.monotonic()
    with pytest.raises(UsageError, match="takes more than"):
        planned(folder, CaptionEdit(replace_regex=(("(a+)+$", "b"),)))
    assert time.monotonic() - begun < 60  # of years


@pytest.mark.parametrize("pair", [("(", "x"), ("a", r"\9"), ("a", r"\g<no>"), ("a", "\\")])
def test_a_wrong_pattern_is_told(folder: Path, pair: tuple[str, str]):
    with pytest.raises(UsageError, match="replace-regex"):
        planned(folder, CaptionEdit(replace_regex=(pair,)))


def test_every_caption_that_cannot_be_read_is_told(folder: Path):
    (folder / "0.txt").write_bytes(b"\xff\xfe")
    (folder / "1.txt").unlink()
    (folder / "1.txt").mkdir()
    with pytest.raises(DatasetError) as fault:
        planned(folder, CaptionEdit(prefix="p"))
    assert [finding.code for finding in fault.value.findings] == ["caption.encoding", "caption.unreadable"]


ROWS = [
    {"file_name": "a.png", "text": "a cat", "extra": [1]},
    {"file_name": "sub/b.png", "caption": "a dög"},
    {"image": "c.png"},
]


@pytest.mark.parametrize("name", ["metadata.json", "metadata.jsonl"])
@pytest.mark.parametrize("named", ["folder", "file"])
def test_captions_in_a_metadata_file_are_edited_there(odd_path: Path, name: str, named: str):
    folder = odd_path / "cat"
    for row in ("a.png", "sub/b.png", "c.png"):
        draw(folder / row)
    lines = [json.dumps(row) for row in ROWS]
    (folder / name).write_text("\n\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", encoding="utf-8")
    target = folder if named == "folder" else folder / name
    made = applied(planned(target, CaptionEdit(replace=(("cat", "cow"),))), folder)
    text = (made / name).read_text(encoding="utf-8")
    got = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    assert got == [{"file_name": "a.png", "text": "a cow", "extra": [1]}, *ROWS[1:]]
    assert (made / "sub" / "b.png").is_file()
    assert lines[1] in text or not name.endswith("l")
    back = applied(undone(made if named == "folder" else made / name), folder)
    text = (back / name).read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == ROWS if name.endswith("l") else json.loads(text) == ROWS


def test_a_metadata_file_with_faults_is_told_whole(odd_path: Path):
    (odd_path / "metadata.jsonl").write_text('{"text": 7}\n{"file_name": "../x.png"}\n{', encoding="utf-8")
    with pytest.raises(DatasetError) as fault:
        planned(odd_path / "metadata.jsonl", CaptionEdit(prefix="p"))
    assert len(fault.value.findings) == 3


def test_a_review_rejects_pictures_and_sets_captions(folder: Path):
    file = folder.parent / "review.json"
    write_review(file, Review(str(folder), ("1",), {"0": "new", "3": "three"}))
    plan = reviewed(file, None)
    assert plan.rejected == ("1.png",)
    made = applied(plan, folder)
    assert texts(made) == {"0": "new", "2": "blurry", "3": "three"}
    version = manifest.read(made)
    assert [(one.source, one.why) for one in version.set_aside] == [(str(folder / "1.png"), "rejected in a review")]
    assert [one.file for one in version.pictures] == ["0.png", "2.png", "3.png"]
    back = applied(undone(made), folder)
    assert texts(back) == texts(folder)
    assert (back / "1.png").is_file()


def test_a_review_of_another_folder_or_of_other_pictures_is_refused(folder: Path):
    file = folder.parent / "review.json"
    write_review(file, Review(str(folder), ("7",), {"8": "x"}))
    with pytest.raises(UsageError, match="'7', '8'"):
        reviewed(file, None)
    with pytest.raises(UsageError, match="is about"):
        reviewed(file, folder.parent)


def test_an_edit_that_says_nothing_is_told(folder: Path):
    with pytest.raises(UsageError, match="nothing to change"):
        planned(folder, CaptionEdit())
