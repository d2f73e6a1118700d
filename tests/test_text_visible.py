from __future__ import annotations

import json

import pytest

from kohya_runner.text import has_control, plain, visible, visible_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07", id="escape sequences"),
        pytest.param("a\x9b31mb", r"a\x9b31mb", id="C1"),
        pytest.param("a\u202egnp.exe", r"a\u202egnp.exe", id="right to left"),
        pytest.param("a\u200bb\ufeff", r"a\u200bb\ufeff", id="zero width"),
        pytest.param("a\rready", r"a\x0dready", id="carriage return"),
        pytest.param("\U000e0041", r"\U000e0041", id="tag character"),
        pytest.param("Ä 猫 é ✓", "Ä 猫 é ✓", id="letters of the world"),
        pytest.param("two\nlines\tand a tab", "two\nlines\tand a tab", id="lines"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_its_code(text: str, shown: str):
    assert visible(text) == shown


def test_a_name_cannot_write_a_line_of_its_own():
    assert plain("a.png\nready: 0 warning(s)") == r"a.png\x0aready: 0 warning(s)"


def test_control_characters_are_told_from_letters():
    assert has_control("a\nb")
    assert has_control("a\x85b")
    assert not has_control("Ä 猫\u00a0")


def test_json_keeps_what_it_says_and_shows_nothing_that_a_terminal_obeys():
    text = "\x9b31m \u202e \U000e0041 \u00e4"
    shown = visible_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(shown) == {"a": text}
    assert shown.isascii() is False
    assert not any(sign in shown for sign in "\x9b\u202e\U000e0041")
