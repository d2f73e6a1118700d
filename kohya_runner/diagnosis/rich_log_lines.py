"""Log records as rich lays them out without a terminal: time, level, message and place in columns.

The first line of one is ``2026-01-31 11:06:21 INFO     saving checkpoint: /a/long/path     train_util.py:5889``, the
next ones are blank up to the message's column. The time is blank where it is the one of the record before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_INDENT = 29  # columns before the message: a time or blanks (20), the level (8), a blank
_RECORD = re.compile(r"(?:\S.{18} | {20})(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) {1,8}(?P<text>.*)$")
_PLAIN = re.compile(
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):[\w.]+:"
    r"|(?:\d\d:\d\d:\d\d-\d{6} )?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) {2,8})(?P<text>.*)$"
)
"""A record of Python's own logging, as musubi-tuner and the diffusers examples leave it; kohya_ss's window with its own
time; what is left of rich's where another program took the columns away."""
_PLACE = re.compile(r"\s*(?P<place>\S+\.py:\d+)$")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A record so far: its text, the columns it has, and the last piece."""

    text: str
    width: int
    piece: str

    def joined(self, piece: str) -> Wrapped:
        """With the next line's piece. A piece as wide as the column was cut inside a word."""
        gap = "" if len(self.piece) == self.width else " "
        return replace(self, text=f"{self.text}{gap}{piece}", piece=piece)


def record(line: str) -> Wrapped | None:
    """The record that begins on this line, or None."""
    plain = _PLAIN.match(line)
    if plain:
        return Wrapped(plain["text"], 0, plain["text"])
    match = _RECORD.match(line)
    if not match:
        return None
    text = match["text"]
    place = _PLACE.search(text)
    if not place:
        return Wrapped(text, 0, text)
    message = text[: place.start()].rstrip()
    return Wrapped(message, place.start("place") - 1, message)


def continuation(line: str) -> str | None:
    """What a line adds to the record before it, None where it begins something else."""
    piece = line[_INDENT:]
    return piece.rstrip() if piece.strip() and not line[:_INDENT].strip() else None
