"""A review file: written and read, and every wrong one told whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_runner.dataset.prepare.review import Review, parse_review, read_review, write_review
from kohya_runner.errors import UsageError

GOOD = {"version": 1, "folder": "/data/cat", "reject": ["a"], "captions": {"b": "a cat"}}
STEMS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda text: not {"", ".", ".."} & {*text.split("/")}
)
LINES = st.text(st.characters(exclude_categories=("Cs", "Cc"))).map(lambda text: " ".join(text.split()))


@settings(deadline=None, max_examples=50)
@given(st.lists(STEMS, unique=True), st.dictionaries(STEMS, LINES))
def test_a_review_is_read_as_it_was_written(tmp_path_factory, reject: list[str], captions: dict[str, str]):
    path = tmp_path_factory.getbasetemp() / "review.json"
    review = Review("/data/my 'cat'", tuple(reject), captions)
    write_review(path, review)
    assert read_review(path) == review


def test_a_caption_becomes_one_line():
    value = {**GOOD, "captions": {"b": " a cat\r\n\ton a mat "}}
    assert parse_review(json.dumps(value).encode(), "r").captions == {"b": "a cat on a mat"}


@pytest.mark.parametrize(
    "stem", ["../a", "/etc/passwd", "a/../../b", "..", ".", "", "a//b", "a\0", "./a", 7, None, "a/"]
)
def test_no_stem_leads_out_of_the_folder(stem: object):
    with pytest.raises(UsageError, match="no picture of a folder"):
        parse_review(json.dumps({**GOOD, "reject": [stem]}).encode(), "r")


@pytest.mark.parametrize("text", [7, None, "a\x1b[2J", "half \ud83d"])
def test_a_caption_is_text(text: object):
    with pytest.raises(UsageError, match="caption of 'b' is no text"):
        parse_review(json.dumps({**GOOD, "captions": {"b": text}}).encode(), "r")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"7", b'{"version": 2}', b"[" * 99999, b'{"version": 1}'])
def test_what_is_no_review_is_told_without_a_traceback(tmp_path: Path, data: bytes):
    path = tmp_path / "r.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"review|JSON"):
        read_review(path)
    with pytest.raises(UsageError):
        read_review(tmp_path / "none.json")


def test_everything_wrong_is_told_at_once():
    with pytest.raises(UsageError) as fault:
        parse_review(b'{"version": 1, "folder": 1, "reject": {}, "captions": []}', "r.json")
    assert [word in fault.value.message for word in ("`folder`", "`reject`", "`captions`")] == [True] * 3
