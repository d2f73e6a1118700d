"""What stands around a log's words: other programs' prefixes, rich's columns, and the bars of tqdm.

The first line of a record of rich is
``2026-01-31 11:06:21 INFO     saving checkpoint: /a/long/path     train_util.py:5889``, the next ones are blank up to
the message's column. The time is blank where it is the one of the record before.

A prefix is taken off only where it cannot be the trainer's own text, line by line, several times over:
``kubectl`` writes its time before docker's name, and fluxgym its own time and level before that.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

from kohya_runner.diagnosis.events import OtherBar, Step
from kohya_runner.text import number

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_LEVEL = r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|STDOUT|STDERR|stdout|stderr)"
_PREFIXES = re.compile(
    rf"\[{_TIME}\] ?\[{_LEVEL}\] ?"  # fluxgym: [2024-12-31 10:02:11] [INFO] text
    rf"|\[?{_TIME}\]? (?:stdout|stderr) [FP] "  # containerd: time stream flag text
    rf"|{_TIME} - {_LEVEL} - "
    rf"|{_TIME}\|?(?=\[LyCORIS\])"
    rf"|\[{_TIME}\] ?"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}(?:Z|[+-]\d\d:\d\d) ?(?:- )?"  # kubectl, docker logs --timestamps
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w@./-]{1,64}(?:\[\d{1,8}\])?: "  # journald, syslog
    r"|\[\d\d:\d\d:\d\d(?:\.\d{1,6})?\]:? ?"
    r"|(?:Training )?STD(?:ERR|OUT): "
    r"|\d\d:\d\d:\d\d-\d{6} (?=Traceback|  File)"
    rf"|\[{_LEVEL}\] (?! )"
)
_CONTAINER = re.compile(r"[a-zA-Z][\w.-]{0,62}(?:-\d{1,3})?\s{1,30}\| ?")
_POD = re.compile(r"\[(?:pod/)?[\w.-]{1,80}/[\w.-]{1,80}\] ?")  # kubectl --prefix, stern
_QUOTED = re.compile(r"> ?")
_LABEL = re.compile(r"(?!steps:)\S[^%|]{0,60}?[:\]>] ")
_LABELS = re.compile(_LABEL.pattern + r"\S[^%|]{0,60}?[:\]>] ")
_HEADER = "Traceback (most recent call last):"
_OWN = re.compile(r"(?!\[(?:rank|default)?\d)(?=.*\S).{1,80}")  # the mark of a rank is no prefix
_MOST = 4
_FEW = 400  # lines of the log's beginning that tell whether all of it stands behind a container's name

_POWERSHELL = re.compile(
    r"At (?:line:\d+|[A-Za-z]:\\.{1,300}:\d+) char:\d+$|\s{0,8}\+ (?:CategoryInfo|FullyQualifiedErrorId)\b|\+ +~|\+ \S"
)
"""What PowerShell writes around the words of a program that failed."""


def shared(lines: list[str]) -> tuple[re.Pattern[str], ...]:
    """The prefixes that most of the first lines have: a container's name and a quotation mark prove nothing alone.

    What stands before a traceback's header and first frame, or before most lines, is some program's, whatever it is.
    """
    heads = [(line.partition(_HEADER)[0], after) for line, after in pairwise(lines) if _HEADER in line]
    own = {head for head, after in heads if _OWN.fullmatch(head) and after.startswith(f"{head}  File ")}
    some = [line for line in lines[:_FEW] if line.strip()]
    labels = Counter(match[0] for label in (_LABEL, _LABELS) for line in some if (match := label.match(line)))
    own |= {head for head, times in labels.items() if times > max(4, 0.8 * len(some)) and _OWN.fullmatch(head)}
    kinds = (_CONTAINER, _POD, _QUOTED)
    most = (kind for kind in kinds if some and sum(bool(kind.match(line)) for line in some) > 0.8 * len(some))
    return (*(re.compile(re.escape(head)) for head in sorted(own, key=len, reverse=True)[:_MOST]), *most)


def without(line: str, common: tuple[re.Pattern[str], ...]) -> str:
    """The line without what other programs wrote before it; rich's own records keep their time."""
    for _ in range(_MOST):
        for kind in (*common, _PREFIXES):
            match = kind.match(line)
            if match and match.end():
                line = line[match.end() :]
                break
        else:
            return line
    return line


def noise(line: str) -> bool:
    """Whether it is PowerShell's frame around an error, which cuts a traceback into pieces."""
    return bool(_POWERSHELL.match(line))


CALM = ("DEBUG", "INFO")
_INDENT = 29  # columns before the message: a time or blanks (20), the level (8), a blank
_RECORD = re.compile(r"(?:\S.{18} | {20})(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) {1,8}(?P<text>.*)$")
_PLAIN = re.compile(
    r"(?:\d\d:\d\d:\d\d-\d{6} )?(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)(?::[\w.]+:| {2,8})(?P<text>.*)$"
)
"""A record of Python's own logging, as musubi-tuner and the diffusers examples leave it; kohya_ss's window with its own
time; what is left of rich's where another program took the columns away."""
_PLACE = re.compile(r"\s*(?P<place>\S+\.py:\d+)$")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A record so far: its text, the columns it has, and the last piece; ``calm`` is one that tells of no error."""

    text: str
    width: int
    piece: str
    calm: bool = False

    def joined(self, piece: str) -> Wrapped:
        """With the next line's piece. A piece as wide as the column was cut inside a word."""
        gap = "" if len(self.piece) == self.width else " "
        return replace(self, text=f"{self.text}{gap}{piece}", piece=piece)


def record(line: str) -> Wrapped | None:
    """The record that begins on this line, or None."""
    plain = _PLAIN.match(line)
    if plain:
        return Wrapped(plain["text"], 0, plain["text"], plain["level"] in CALM)
    match = _RECORD.match(line)
    if not match:
        return None
    text, calm = match["text"], match["level"] in CALM
    place = _PLACE.search(text)
    if not place:
        return Wrapped(text, 0, text, calm)
    message = text[: place.start()].rstrip()
    return Wrapped(message, place.start("place") - 1, message, calm)


def continuation(line: str) -> str | None:
    """What a line adds to the record before it, None where it begins something else."""
    piece = line[_INDENT:]
    return piece.rstrip() if piece.strip() and not line[:_INDENT].strip() else None


BAR = re.compile(
    r"(?:(?P<label>[^\r\n|%]{0,80}?):\s+)?(?:\d+%)\|[^|\r\n]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s"
    r"\[(?P<elapsed>[\d:]+)<(?P<remaining>[\d:?]+),\s*(?P<rate>[\d.?]+)\s?(?P<unit>s/it|it/s)(?P<more>[^\]\r\n]*)\]"
)
_SIGN = "%|"
_LONGEST = 2000  # characters; a longer line is no bar
_LOSS = re.compile(r"\b(?:avr_|step_)?loss=([^,\s]+)")
LABEL = "steps"
"""The label of the optimizer's steps in every train script (train_network.py:1530); diffusers writes it ``Steps``."""


def find_bar(text: str) -> re.Match[str] | None:
    """The bar in a line; the cheap look comes first, for most lines hold none."""
    return BAR.search(text) if _SIGN in text and len(text) < _LONGEST else None


def bar_event(match: re.Match[str]) -> Step | OtherBar:
    done, total = int(match["done"]), int(match["total"])
    label = (match["label"] or "").strip()
    if label.lower() != LABEL:
        return OtherBar(label, done, total)
    loss = _LOSS.search(match["more"])
    return Step(
        done,
        total,
        seconds_per_step=_pace(match["rate"], match["unit"]),
        elapsed=_seconds(match["elapsed"]),
        remaining=_seconds(match["remaining"]),
        loss=number(loss.group(1)) if loss else None,
    )


def _pace(rate: str, unit: str) -> float | None:
    value = number(rate)
    if value is None or value <= 0:
        return None
    return value if unit == "s/it" else 1 / value


def _seconds(text: str) -> float | None:
    """``1:02:03`` and ``02:03`` as seconds."""
    parts = text.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    total = 0.0
    for part in parts:
        total = total * 60 + int(part)
    return total
