from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kohya_runner.dataset.metadata_rows import is_edit, read_rows

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"input_image": "a.png", "instruction": "make it blue", "output_image": "b.png"}'


def written(folder: Path, text: str, name: str = "metadata.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def faults(path: Path) -> list[str]:
    return [f"{fault.where.removeprefix(f'{path}:')} {fault.what}" for fault in read_rows(path).faults]


def test_every_value_knows_its_line_and_column(odd_path):
    path = written(odd_path, f"{GOOD}\n\n  {GOOD}\n")
    first, second = read_rows(path).rows
    assert (first.line, second.line) == (1, 3)
    assert first.where("instruction") == f"{path}:1:41"
    assert second.where("instruction") == f"{path}:3:43"
    assert second.keys["output_image"] == f"{path}:3:59"
    assert second.where("not there") == f"{path}:3:3"


def test_a_list_is_as_good_as_lines(odd_path):
    path = written(odd_path, f"[\n  {GOOD},\n  {GOOD}\n]\n", "metadata.json")
    rows = read_rows(path).rows
    assert [row.place for row in rows] == [f"{path}:2:3", f"{path}:3:3"]
    assert rows[1].values["output_image"] == "b.png"


def test_a_byte_order_mark_and_windows_lines_are_read(odd_path):
    assert len(read_rows(written(odd_path, f"\ufeff{GOOD}\r\n{GOOD}\r\n")).rows) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{'a': 1}", "2:2 has no key in double quotes here"),
        ('{"a" 1}', "2:6 has no ':' after a key"),
        ('{"a": x}', "2:7 is not valid JSON: Expecting value"),
        ('{"a": 1 "b": 2}', "2:9 has no ',' or '}' here"),
        ('{"a": 1,}', "2:8 ends with a comma"),
        ('{"a": 1', "2:8 has no ',' or '}' here"),
        ('{"a": "x', "2:7 is not valid JSON: Unterminated string starting at"),
        ('{"a": 1, "a": 2}', "2:10 names 'a' twice"),
        ('{"a": 1},', "2:9 has something after the object"),
        ('["a"]', "2:1 is not a JSON object"),
        ("[" * 100_000, "2:1 is not a JSON object"),
        ('{"a": ' + "[" * 100_000, "2:7 is nested too deeply"),
    ],
)
def test_a_broken_line_is_told_with_its_place_and_the_others_are_read(odd_path, line, expected):
    path = written(odd_path, f"{GOOD}\n{line}\n{GOOD}\n")
    assert faults(path) == [expected]
    assert [row.line for row in read_rows(path).rows] == [1, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "1:1 is not a list of objects"),
        (f"[{GOOD}", f"1:{len(GOOD) + 2} has no ',' or ']' here"),
        (f"[{GOOD}] x", f"1:{len(GOOD) + 4} has something after the list"),
        ("", "1:1 is not a list of objects"),
    ],
)
def test_a_list_that_is_none_is_told(odd_path, text, expected):
    assert faults(written(odd_path, text, "metadata.json")) == [expected]


def test_what_is_no_utf_8_or_not_there_is_told(odd_path):
    path = odd_path / "metadata.jsonl"
    assert faults(path) == ["1:1 cannot be read: No such file or directory"]
    path.write_bytes(b"\xff\xfe{}")
    assert faults(path) == ["1:1 is not UTF-8 (byte 0)"]


def test_captions_of_single_pictures_are_no_edits(odd_path):
    assert is_edit(written(odd_path, GOOD))
    assert is_edit(written(odd_path, '{"input": "a.png", "output": "b.png", "prompt": "blue"}'))
    assert not is_edit(written(odd_path, "no json"))  # then it is told as a file of captions
    assert not is_edit(odd_path / "not there.jsonl")
    assert not is_edit(written(odd_path, '[{"file_name": "a.png", "text": "a cat"}]', "metadata.json"))
    assert not is_edit(written(odd_path, '{"image": "a.png", "caption": "a cat"}'))
