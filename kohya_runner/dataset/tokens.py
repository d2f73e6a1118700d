"""How many tokens a text encoder makes of a caption, and where what is too long is cut off.

CLIP is counted with the tokenizer's own ``merges.txt`` where one is at hand. Everything else is an estimate between
the fewest and the most tokens there can be; the most is never too few.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_PIECES = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE
)
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_WORD = re.compile(r"\S+")
_CHANGED = re.compile(r"[^\x20-\x7e\s]|&[a-z#0-9]+;", re.IGNORECASE)
"""What ftfy, which the trainer's CLIP tokenizer runs first, may change: all but plain ASCII."""
MERGES = 49152 - 256 - 2  # transformers reads no more (models/clip/tokenization_clip.py)
END = "</w>"


@dataclass(frozen=True, slots=True)
class Merges:
    """CLIP's byte pair encoding: the rank of every pair that is joined. Only the number of tokens is of interest."""

    ranks: Mapping[tuple[str, str], int]
    counted: dict[str, int] = field(default_factory=dict)

    def count(self, piece: str) -> int:
        """Tokens of one piece of the pattern, in lower case."""
        if piece not in self.counted:
            self.counted[piece] = 1 if piece in _SPECIAL else len(self._joined(piece))
        return self.counted[piece]

    def _joined(self, piece: str) -> list[str]:
        signs = _signs()
        parts = [signs[byte] for byte in piece.encode()]
        parts[-1] += END
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, MERGES))
            if best not in self.ranks:
                break
            parts = _merged(parts, best)
        return parts


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    joined, index = [], 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            joined.append("".join(pair))
            index += 2
        else:
            joined.append(parts[index])
            index += 1
    return joined


@lru_cache(maxsize=1)
def _signs() -> Mapping[int, str]:
    """The printable sign that stands for each byte in the files of a byte-level tokenizer."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain}, **{byte: chr(256 + n) for n, byte in enumerate(others)}}


def read_merges(folder: Path) -> Merges | None:
    """The merges of a tokenizer's folder, None where there are none that can be read."""
    try:
        lines = (folder / "merges.txt").read_text(encoding="utf-8").strip().split("\n")[1 : MERGES + 1]
    except (OSError, UnicodeDecodeError):
        return None
    pairs = [tuple(line.split()) for line in lines]
    return Merges({(pair[0], pair[1]): rank for rank, pair in enumerate(pairs) if len(pair) == 2})


@dataclass(frozen=True, slots=True)
class Encoder:
    """A text encoder: how many tokens of a caption it takes, start and end marks not counted."""

    name: str
    limit: int
    kind: str = "clip"  # or "t5", or "bytes"
    merges: Merges | None = None
    longer: tuple[int, ...] = ()  # what max_token_length could be set to instead


def alike(encoders: tuple[Encoder, ...]) -> tuple[tuple[int, str], ...]:
    """One index for all encoders that count the same, and their names in words."""
    names: dict[int, list[str]] = {}
    for one in encoders:
        key = (one.limit, one.kind, one.merges)
        first = next(i for i, e in enumerate(encoders) if (e.limit, e.kind, e.merges) == key)
        names.setdefault(first, []).append(one.name)
    return tuple((index, " and ".join(together)) for index, together in names.items())


@dataclass(frozen=True, slots=True)
class Count:
    """The tokens of a caption for one encoder, and the number of signs that are read for certain (None: all)."""

    encoder: str
    limit: int
    fewest: int
    most: int
    cut: int | None = None

    @property
    def exact(self) -> bool:
        """Whether it was counted and not estimated."""
        return self.fewest == self.most

    @property
    def shown(self) -> str:
        """``31 tokens`` where it was counted, else ``12 to 60 tokens (estimate)``."""
        return (
            f"{self.most} token{'' if self.most == 1 else 's'}"
            if self.exact
            else f"{self.fewest} to {self.most} tokens (estimate)"
        )


def count(encoder: Encoder, text: str) -> Count:
    """Tokens and cut of a text."""
    weights = list(_WEIGHTS[encoder.kind](text) if encoder.kind in _WEIGHTS else _clip(text, encoder.merges))
    most = sum(number for _, number in weights)
    exact = encoder.kind == "clip" and encoder.merges is not None and not _CHANGED.search(text)
    fewest = most if exact else min(most, _words(text) if encoder.kind in _WEIGHTS else _fewest(text))
    return Count(encoder.name, encoder.limit, fewest, most, _cut(weights, encoder.limit))


def _cut(weights: list[tuple[int, int]], limit: int) -> int | None:
    total = 0
    for start, number in weights:
        total += number
        if total > limit:
            return start
    return None


def _clip(text: str, merges: Merges | None) -> Iterator[tuple[int, int]]:
    """Where each piece begins, and its tokens: those of plain ASCII by the merges, else no more than its bytes."""
    for found in _WORD.finditer(text):
        word, start = _word(found[0]), found.start()
        if word.largest is not None:
            yield start, word.largest
            continue
        for offset, piece in word.pieces:
            yield start + offset, merges.count(piece) if merges is not None else len(piece)


@dataclass(frozen=True, slots=True)
class _Word:
    """What stands between blanks: its pieces in lower case, or how many bytes it is where ftfy may change it."""

    fewest: int
    largest: int | None = None
    pieces: tuple[tuple[int, str], ...] = ()


@lru_cache(maxsize=20_000)
def _word(word: str) -> _Word:
    if _CHANGED.search(word):  # then no more than one token is certain
        forms = (word, unicodedata.normalize("NFC", word), word.lower())
        return _Word(int(_has_letter(word)), max(len(form.encode("utf-8", "replace")) for form in forms))
    pieces = tuple((found.start(), found[0].lower()) for found in _PIECES.finditer(word))
    return _Word(len(pieces), pieces=pieces)


def _fewest(text: str) -> int:
    return sum(_word(found[0]).fewest for found in _WORD.finditer(text))


def _has_letter(word: str) -> bool:
    return any(sign.isascii() and sign.isalnum() for sign in word)


def _t5(text: str) -> Iterator[tuple[int, int]]:
    """SentencePiece spends at most a token on a sign and one on the blank before a word, after NFKC."""
    for word in _WORD.finditer(text):
        yield word.start(), len(unicodedata.normalize("NFKC", word[0])) + 1


def _words(text: str) -> int:
    """No token reaches over a blank."""
    return sum(1 for word in text.split() if _has_letter(word))


def _bytes(text: str) -> Iterator[tuple[int, int]]:
    """A byte-level encoding, or one that falls back to bytes, spends at most a token on each byte."""
    for word in _WORD.finditer(text):
        forms = (word[0], unicodedata.normalize("NFC", word[0]))
        yield word.start(), max(len(form.encode("utf-8", "replace")) for form in forms) + 1


_WEIGHTS: Mapping[str, Callable[[str], Iterator[tuple[int, int]]]] = {"t5": _t5, "bytes": _bytes}
