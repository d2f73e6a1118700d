"""How many tokens a text encoder makes of a caption, and where what is too long is cut off.

CLIP is counted with the tokenizer's own ``merges.txt`` where one is at hand, T5, Gemma and Qwen with their own files.
Everything else is an estimate between the fewest and the most tokens there can be; the most is never too few.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.text import counted

if TYPE_CHECKING:
    from kohya_runner.dataset.tokenizer_files import Tokenizer

Weights = Iterator[tuple[int, int]]  # where a piece of the text begins, and its tokens

_PIECES = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE
)
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_WORD = re.compile(r"\S+")
_CHANGED = re.compile(r"[^\x20-\x7e\s]|&[a-z#0-9]+;", re.IGNORECASE)
"""What ftfy, which the trainer's CLIP tokenizer runs first, may change: all but plain ASCII."""
MERGES = 49152 - 256 - 2  # transformers reads no more (models/clip/tokenization_clip.py)
END = "</w>"
QUOTED = "quoted"
_WITH_BLANKS = re.compile(r"\s*\S+|\s+")
_QUOTES = tuple(re.compile(pattern) for pattern in (r'"(.*?)"', "\u2018(.*?)\u2019", "\u201c(.*?)\u201d"))


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
    kind: str = "clip"  # how it is estimated: clip, t5, or one of ``ESTIMATES``
    merges: Merges | None = None
    longer: tuple[int, ...] = ()  # what max_token_length could be set to instead
    files: Tokenizer | None = None  # everything but CLIP is counted with it
    before: str = ""  # what the trainer writes before every caption

    @property
    def known(self) -> bool:
        """Whether the tokenizer's files are here, or none are needed."""
        return self.merges is not None or self.files is not None or self.kind == QUOTED


def alike(encoders: tuple[Encoder, ...]) -> tuple[tuple[int, str], ...]:
    """One index for all encoders that count the same, and their names in words."""
    names: dict[int, list[str]] = {}
    for one in encoders:
        first = next(i for i, other in enumerate(encoders) if same(one, other))
        names.setdefault(first, []).append(one.name)
    return tuple((index, " and ".join(together)) for index, together in names.items())


def same(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders make as many tokens of any text."""
    alike = one.limit == other.limit and one.kind == other.kind and one.before == other.before
    return alike and one.merges == other.merges and one.files is other.files


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
        return self.fewest == self.most

    @property
    def shown(self) -> str:
        """``31 tokens`` where it was counted, else ``12 to 60 tokens (estimate)``."""
        return counted(self.most, "token") if self.exact else f"{self.fewest} to {self.most} tokens (estimate)"


def count(encoder: Encoder, text: str) -> Count:
    """Tokens and cut of a text."""
    if encoder.files is not None:
        return _counted(encoder, encoder.files, text)
    weights = list(_clip(text, encoder.merges) if encoder.kind == "clip" else ESTIMATES[encoder.kind](text))
    most = sum(number for _, number in weights)
    by_merges = encoder.kind == "clip" and encoder.merges is not None and not _CHANGED.search(text)
    fewest = most
    if encoder.kind == "clip" and not by_merges:
        fewest = min(most, sum(_word(found[0]).fewest for found in _WORD.finditer(text)))
    elif encoder.kind not in ("clip", QUOTED):  # no token reaches over a blank
        fewest = min(most, sum(1 for word in text.split() if _has_letter(word)))
    reached = zip(accumulate(number for _, number in weights), weights, strict=True)
    cut = next((start for total, (start, _) in reached if total > encoder.limit), None)
    return Count(encoder.name, encoder.limit, fewest, most, cut)


def _counted(encoder: Encoder, files: Tokenizer, text: str) -> Count:
    """Together with what the trainer writes before it: the last token of the one may join the first of the other."""
    begin = len(encoder.before)
    spans = files.spans(encoder.before + text)
    taken = sum(1 for _, end in spans if end <= begin) if begin else 0
    own, room = len(spans) - taken, max(0, encoder.limit - taken)
    cut = max(0, spans[taken + room][0] - begin) if own > room else None
    return Count(encoder.name, room, own, own, cut)


def _clip(text: str, merges: Merges | None) -> Weights:
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


def _has_letter(word: str) -> bool:
    return any(sign.isascii() and sign.isalnum() for sign in word)


def _t5(text: str) -> Weights:
    """SentencePiece spends at most a token on a sign and one on the blank before a word, after NFKC."""
    for word in _WORD.finditer(text):
        yield word.start(), len(unicodedata.normalize("NFKC", word[0])) + 1


def _bytes(text: str) -> Weights:
    """Byte-level vocabularies, and those that fall back to bytes, spend at most a token on each byte."""
    for word in _WITH_BLANKS.finditer(text):
        forms = (word[0], unicodedata.normalize("NFC", word[0]))
        yield word.start(), max(len(form.encode("utf-8", "replace")) for form in forms)


def _quoted(text: str) -> Weights:
    """ByT5 reads what stands in quotes, a token a byte, as ``Text "...". `` (its text_encoder.py:571, :617)."""
    for pattern in _QUOTES:
        for found in pattern.finditer(text):
            yield found.start(1), len('Text "". ')
            yield from ((found.start(1) + n, len(sign.encode("utf-8", "replace"))) for n, sign in enumerate(found[1]))


ESTIMATES: Mapping[str, Callable[[str], Weights]] = {"t5": _t5, "bytes": _bytes, QUOTED: _quoted}
"""How much each kind of tokenizer can make of a text at most, without its files. ByT5 has none and is exact."""
