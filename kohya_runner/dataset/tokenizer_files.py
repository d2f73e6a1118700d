"""A text encoder's own tokenizer, made of the files it comes with: tokenizer.json, spiece.model, vocab and merges.

The `tokenizers` library is what the trainer's transformers counts with, too; where files must be converted first it is
done as there (transformers 4.54.1, convert_slow_tokenizer.py). Files of strangers: whatever is wrong with one means
that there is no tokenizer, and an estimate takes its place.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.safe_files import status

UNIGRAM = 1  # trainer_spec.model_type, the default
CONTROL, USER_DEFINED = 3, 4  # types of a piece
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _UNKNOWN = 3, 40
_CHARSMAP = 2


@dataclass(frozen=True, slots=True)
class SentencePiece:
    """The pieces with their scores in order, and what is done to a text before."""

    kind: int
    scores: tuple[tuple[str, float], ...]
    added: tuple[tuple[str, bool], ...]  # pieces that are a token wherever they stand, and whether it is a mark
    unknown: int
    charsmap: bytes


def read_sentencepiece(path: Path) -> SentencePiece:
    """The model in a file; ValueError where it is none."""
    parts = list(_fields(path.read_bytes()))
    pieces = [_piece(value) for number, value in parts if number == _PIECES and isinstance(value, bytes)]
    trainer = dict(_fields(_message(parts, _TRAINER)))
    normalizer = dict(_fields(_message(parts, _NORMALIZER)))
    if not pieces:
        raise ValueError("no pieces")
    charsmap = normalizer.get(_CHARSMAP, b"")
    return SentencePiece(
        kind=_number(trainer.get(_MODEL_TYPE, UNIGRAM)),
        scores=tuple((text, score) for text, score, _ in pieces),
        added=tuple((text, kind == CONTROL) for text, _, kind in pieces if kind in (CONTROL, USER_DEFINED)),
        unknown=_number(trainer.get(_UNKNOWN, 0)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
    )


def _piece(data: bytes) -> tuple[str, float, int]:
    found = dict(_fields(data))
    text, score = found.get(_PIECE, b""), found.get(_SCORE, b"\0\0\0\0")
    if not isinstance(text, bytes) or not isinstance(score, bytes):
        raise ValueError("not a piece")  # noqa: TRY004 - the file's fault
    return text.decode(), struct.unpack("<f", score)[0], _number(found.get(_TYPE, 1))


def _message(parts: list[tuple[int, int | bytes]], wanted: int) -> bytes:
    return next((value for number, value in parts if number == wanted and isinstance(value, bytes)), b"")


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("not a number")  # noqa: TRY004 - the file's fault
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: a number, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("no protocol buffer")
        if at + length > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no number")


LARGEST = 64 << 20  # bytes; Gemma's tokenizer.json has 34 MB
T5_EXTRA = 100  # <extra_id_0> and so on, beside the pieces of T5's file (models/t5/tokenization_t5.py)
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Qwen's pieces begin and end (convert_slow_tokenizer.py:428)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """A tokenizer of the `tokenizers` library, without the marks that are put around a text."""

    backend: Any

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where in the text each token begins and ends; the blank before a word belongs to its token."""
        return tuple(self.backend.encode(text, add_special_tokens=False).offsets)


def read_tokenizer(folder: Path, *, converted: bool = False) -> Tokenizer | None:
    """The tokenizer of a folder, None where there is none that can be read.

    ``converted``: as transformers makes it where the folder has no tokenizer.json, although it has one.
    """
    ways = WAYS[1:] if converted else WAYS
    for names, way in ways:
        if all(_usable(folder / name) for name in names):
            try:
                return Tokenizer(way(folder))
            except Exception:  # noqa: BLE001, S112 - the library raises plain Exception, files anything
                continue
    return None


def _usable(path: Path) -> bool:
    there = status(path)
    return there is not None and path.is_file() and there.st_size <= LARGEST


def _whole(folder: Path) -> Any:
    """tokenizer.json says it all; what else is to be one token stands in tokenizer_config.json."""
    import tokenizers

    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    return _with_added(made, folder)


def _from_pieces(folder: Path) -> Any:
    """T5's spiece.model (convert_slow_tokenizer.py:577-672, :1063)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    pieces = read_sentencepiece(folder / "spiece.model")
    if pieces.kind != UNIGRAM:
        raise ValueError("not a unigram model")
    extra = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(T5_EXTRA))]
    made = Tokenizer(models.Unigram([*pieces.scores, *extra], unk_id=pieces.unknown, byte_fallback=False))
    # marks and what the makers chose; the unknown one counts as a mark (models/t5/tokenization_t5_fast.py:88)
    _add(made, [*pieces.added, (pieces.scores[pieces.unknown][0], True)])
    steps: list[Any] = [normalizers.Precompiled(pieces.charsmap)] if pieces.charsmap else []
    steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    # sentinels are added tokens: one anywhere in a text is a token of its own (models/t5/tokenization_t5_fast.py)
    _add(made, [(name, True) for name, _ in extra])
    return made


def _from_merges(folder: Path) -> Any:
    """Qwen's vocab.json and merges.txt (convert_slow_tokenizer.py:400-443)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    made = Tokenizer(model)
    made.normalizer = normalizers.NFC()
    pieces = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated", invert=False)
    signs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([pieces, signs])
    return _with_added(made, folder)


def _with_added(made: Any, folder: Path) -> Any:
    path = folder / "tokenizer_config.json"
    if not _usable(path):
        return made
    told = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
    known = made.get_vocab(with_added_tokens=True)
    rows = sorted((int(number), row) for number, row in told.items())
    _add(made, [(row["content"], bool(row.get("special"))) for _, row in rows if row["content"] not in known], rows)
    return made


def _add(made: Any, tokens: Iterable[tuple[str, bool]], rows: Iterable[tuple[int, dict[str, Any]]] = ()) -> None:
    """Texts that are one token each, wherever they stand."""
    from tokenizers import AddedToken

    told = {row["content"]: row for _, row in rows}
    for text, special in tokens:
        row = told.get(text, {})
        flags = {name: bool(row.get(name)) for name in ("lstrip", "rstrip", "single_word", "normalized")}
        token = AddedToken(text, special=special, **flags)
        (made.add_special_tokens if special else made.add_tokens)([token])


WAYS: tuple[tuple[tuple[str, ...], Callable[[Path], Any]], ...] = (
    (("tokenizer.json",), _whole),
    (("spiece.model",), _from_pieces),
    (("vocab.json", "merges.txt"), _from_merges),
)
"""The files of a tokenizer, and how it is made of them, in the order of transformers' preference."""
