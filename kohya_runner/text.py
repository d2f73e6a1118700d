"""Words for people: sizes, durations, counts, a few names of many, and text that a terminal can show."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The most similar name, or None where nothing comes close."""
    by_lower = {name.lower().replace("-", "_"): name for name in names}
    found = get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of names where none comes close and the list is short."""
    names = tuple(names)
    best = nearest(word, names)
    if best:
        return f"did you mean '{best}'?"
    few = 14
    return "allowed: " + ", ".join(sorted(names)) if len(names) <= few else ""


SHOWN = 5
LONGEST = 80


def size(count: int | None) -> str:
    """Bytes in powers of 1024, as nvidia-smi, PyTorch and ``df -h`` count: a card sold as 24 GB has 24 GiB."""
    if count is None:
        return "unknown"
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s``, ``7 s``."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def names(paths: Sequence[Path]) -> str:
    """``a.png, b.png and 7 more``."""
    shown = ", ".join(printable(path.name) for path in paths[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str) -> str:
    """A quoted piece of text that fits into a line."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return repr(printable(cut))


def printable(text: str) -> str:
    """The text with what no terminal or JSON file takes (undecodable bytes of a file name) replaced."""
    return text.encode("utf-8", "replace").decode()


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""What a terminal obeys or does not show: control characters, bidi, zero width. Tab and newline are left."""
_BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """A stranger's text as a terminal may show it: what would move the cursor or hide something stands as its code."""
    return _UNSEEN.sub(_code, text)


def visible_json(text: str) -> str:
    """JSON with the same characters as its own escapes: what reads it gets them back."""
    return _UNSEEN.sub(lambda found: "".join(map(r"\u{:04x}".format, _units(found.group()))), text)


def plain(text: str) -> str:
    """``visible`` without tabs and line breaks: a file's name cannot write a line of its own."""
    return _BREAKS.sub(_code, visible(text))


def has_control(text: str) -> bool:
    """Whether a text holds a control character (C0, C1): no argument of a program needs one."""
    return any(ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0 for sign in text)


def _units(sign: str) -> tuple[int, ...]:
    data = sign.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))


def _code(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
