from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kohya_runner.dataset.captions import fewest_tokens, most_tokens, read_caption

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("data", "text", "lines", "problem"),
    [
        pytest.param(b" a cat \n", "a cat", 1, "", id="stripped"),
        pytest.param(b"one\ntwo\n\nthree", "one", 3, "", id="the first of several lines"),
        pytest.param(b"one\rtwo", "one", 2, "", id="old line ends"),
        pytest.param("one\u2028two".encode(), "one\u2028two", 1, "", id="a line separator is no line end"),
        pytest.param(b"\xef\xbb\xbfone", "\ufeffone", 1, "", id="a byte order mark stays"),
        pytest.param(b"", "", 0, "empty", id="no byte"),
        pytest.param(b"\n", "", 0, "blank first line", id="only a line end"),
        pytest.param(b"  \ntext", "", 1, "blank first line", id="text in the second line"),
        pytest.param(b"\xef\xbb\xbf\n", "\ufeff", 1, "blank first line", id="only a byte order mark"),
        pytest.param(b"caf\xe9", "", 0, "not UTF-8", id="latin-1"),
    ],
)
def test_a_caption_is_read_as_the_trainer_reads_it(
    odd_path: Path, data: bytes, text: str, lines: int, problem: str
) -> None:
    path = odd_path / "a.txt"
    path.write_bytes(data)
    caption = read_caption(path)
    assert (caption.text, caption.lines, caption.problem) == (text, lines, problem)


def test_a_caption_that_cannot_be_opened_says_why(odd_path: Path) -> None:
    assert read_caption(odd_path / "none.txt").problem == "unreadable: No such file or directory"


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [
        ("", 0, 0),
        ("a cat", 2, 6),
        ("pixel art, 24x24", 8, 17),
        ("it's (very) nice!!", 7, 19),
        ("#ff00aa", 5, 8),
        ("猫 cat", 2, 8),
        ("a\u200bb\ufeff", 1, 9),
    ],
)
def test_the_number_of_tokens_lies_between_two_bounds(text: str, fewest: int, most: int) -> None:
    assert (fewest_tokens(text), most_tokens(text)) == (fewest, most)
