"""What the trainer reads of a caption file, and how long it could be in tokens."""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
from dataclasses import replace
from pathlib import Path

from kohya_runner.dataset.facts import CAPTION_BLANK, CAPTION_EMPTY, CAPTION_ENCODING, Caption

BOM = "\ufeff"
LARGEST = 1 << 20  # bytes; a caption is a line of text

_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


def read_caption(path: Path) -> Caption:
    """A caption file, read as the trainer does it (library/train_util.py:1956-1968): UTF-8, the first line, stripped.

    A byte order mark stays in the prompt. A file without a byte is an assertion of the trainer, a blank first line an
    empty prompt.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            return Caption(path, "", 0, "", problem="unreadable: is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        return Caption(path, "", 0, "", problem=f"unreadable: {error.strerror or error}")
    if len(data) > LARGEST:
        return Caption(path, "", 0, "", problem="unreadable: larger than a megabyte, too large for a caption")
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Caption(path, "", 0, digest, problem=CAPTION_ENCODING, bytes=len(data))
    return replace(_caption(path, text, digest), bytes=len(data))


def caption_from_text(text: str, where: str) -> Caption:
    """A caption that stands in a metadata file; ``where`` says in which row."""
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(data).hexdigest()
    try:
        data.decode()
    except UnicodeDecodeError:  # half a sign, written as \ud83d
        return Caption(Path(where), "", 0, digest, problem=CAPTION_ENCODING)
    return replace(_caption(Path(where), text, digest), bytes=len(data), written=text)


def _caption(path: Path, text: str, digest: str) -> Caption:
    # open() in text mode ends a line at \n, \r\n and \r, and nowhere else: not what str.splitlines() does
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = lines[0].strip()
    problem = "" if first.strip(BOM).strip() else CAPTION_BLANK if text else CAPTION_EMPTY
    filled = sum(1 for line in lines if line.strip())
    return Caption(path, first, filled, digest, problem=problem, bom=text.startswith(BOM))


def fewest_tokens(text: str) -> int:
    """The fewest tokens the text can have, start and end marks not counted.

    CLIP's tokenizer never joins across these pieces: words, single digits, runs of other signs.
    """
    visible = "".join(sign for sign in text if unicodedata.category(sign) not in ("Cc", "Cf") or sign.isspace())
    return len(_PIECES.findall(unicodedata.normalize("NFC", visible)))


def most_tokens(text: str) -> int:
    """A number of tokens that no text of this length exceeds, start and end marks not counted.

    Byte-level vocabularies spend at most one token on a byte, SentencePiece at most one on a sign and one on the start
    of a word.
    """
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return max(len(plain.encode()), len(plain.lower().encode())) + (1 if plain else 0)
