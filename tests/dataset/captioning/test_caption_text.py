"""A caption is one line with its trigger word; a refusal is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_runner.dataset.captioning.caption_text import one_line, refused, with_trigger


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80))
def test_whatever_a_model_says_becomes_one_line(text: str):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.isprintable()
    assert line == line.strip()


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("a cat\n\non a\tmat", "a cat on a mat"),
        ('"A cat."', "A cat."),
        ("“A cat.”", "A cat."),
        ("**Caption:** a cat", "a cat"),
        ("<think>What is it?\nA cat.</think>\na cat", "a cat"),
        ("a\u2028cat\ufeff\x1b[2J", "a cat[2J"),
        ('a "cat"', 'a "cat"'),
    ],
)
def test_what_is_around_a_caption_goes(said: str, line: str):
    assert one_line(said) == line


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        ("a cat", "sks, a cat"),
        ("sks, a cat", "sks, a cat"),
        ("sks cat", "sks cat"),
        ("cat, sks, mat", "sks, cat, mat"),
        ("a photo of sks cat", "a photo of sks cat"),
        ("asks a cat", "sks, asks a cat"),
        ("", "sks"),
        ("sks", "sks"),
    ],
)
def test_the_trigger_word_is_placed_once(text: str, placed: str):
    assert with_trigger(text, "sks") == placed
    assert with_trigger(placed, "sks") == placed
    assert with_trigger(text, "") == text


@pytest.mark.parametrize(
    ("text", "no"),
    [
        ("I'm sorry, but I can't assist with that request.", True),
        ("I\u2019m unable to describe people.", True),
        ("Sorry, no.", True),
        ("I cannot identify the person.", True),
        ("As an AI model, I", True),
        ("Unfortunately, I can't see it.", True),
        ("A sorry looking dog", False),
        ("I, Robot poster on a wall", False),
        ("a person who cannot swim", False),
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str, no: object):
    assert refused(text) is no
