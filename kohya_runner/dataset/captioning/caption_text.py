"""The text of a caption: one line, with its trigger word, and what is no caption at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CaptionJob:
    """A picture that needs a caption: where it lies now, and the name of the folder that it came from."""

    path: Path
    folder: str
    caption: str = ""  # the one it has

    @property
    def file(self) -> str:
        """Its name."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a picture got no caption."""

    why: str
    of_server: bool = False  # nothing that the picture could be to blame for


_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_LABEL = re.compile(r"\A(?:\*\*)?(?:caption|description)\s*:\s*(?:\*\*)?\s*", re.IGNORECASE)
_REFUSED = re.compile(
    r"(?:i['\u2019]?m|i am) (?:really |very )?(?:sorry|unable|not able)|sorry[,.]"
    r"|i (?:can['\u2019]?t|cannot|can not|won['\u2019]?t|am unable)\b|as an ai\b|i apologi[sz]e|unfortunately, i\b",
    re.IGNORECASE,
)


def one_line(text: str) -> str:
    """A model's answer as the line that the trainer reads: no thoughts, label, quotes or signs that nobody sees."""
    shown = "".join(sign for sign in _THOUGHT.sub("", text) if sign.isprintable() or sign.isspace())
    line = _LABEL.sub("", " ".join(shown.split())).strip()
    quoted = len(line) > 1 and (line[0], line[-1]) in (('"', '"'), ("“", "”"), ("'", "'"))
    return line[1:-1].strip() if quoted else line


def refused(text: str) -> bool:
    """Whether a model says that it will not, instead of describing the picture."""
    return _REFUSED.match(text) is not None


def with_trigger(text: str, word: str) -> str:
    """The text with the word as its first tag; within a sentence it stays where it is."""
    if not word or text == word or text.startswith((f"{word},", f"{word} ")):
        return text
    tags = [tag.strip() for tag in text.split(",")]
    if word in tags:
        return ", ".join((word, *(tag for tag in tags if tag != word)))
    inside = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return text if inside else f"{word}, {text}" if text else word
