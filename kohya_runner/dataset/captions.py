"""The pictures of a folder and their captions: what the trainer reads of a file, and its length in tokens."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.dataset import facts


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder, sorted, by what they are to the trainer."""

    images: tuple[str, ...]
    captions: tuple[str, ...]
    strays: tuple[str, ...]
    folders: tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether a name has an image's extension, in whatever case: the layout writes it in lower case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in facts.IMAGE_EXTENSIONS  # noqa: PTH122


def stem(name: str) -> str:
    """What an image and its caption share."""
    return os.path.splitext(name)[0]  # noqa: PTH122 - what the trainer splits with


def listed(folder: Path, extension: str) -> Listing:
    """The files of a folder itself, not those of subfolders, and no dotfiles, as the trainer reads it.

    Raises:
        OSError: the folder cannot be listed.
    """
    images, captions, strays, folders = [], [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif is_image(entry.name):
                images.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() == extension.lower():  # noqa: PTH122
                captions.append(entry.name)
            else:
                strays.append(entry.name)
    return Listing(tuple(sorted(images)), tuple(sorted(captions)), tuple(sorted(strays)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere, or to itself, is a file that cannot be read."""
    with suppress(OSError):
        return entry.is_dir()
    return False


def captions_by_stem(source: facts.Source, names: Iterable[str]) -> Mapping[str, facts.Caption]:
    """Captions by stem. Where ``a.txt`` and ``a.TXT`` are both there, the one spelt like the rule counts."""
    chosen: dict[str, str] = {}
    for name in () if source.captions.ignored else names:
        if stem(name) not in chosen or name.endswith(facts.dotted(source.captions.extension)):
            chosen[stem(name)] = name
    paths = {stem: source.folder / name for stem, name in chosen.items()}
    return {stem: _unreadable(path, why) if (why := source.refuses(path)) else read_caption(path)
            for stem, path in paths.items()}  # fmt: skip


def _unreadable(path: Path, why: str) -> facts.Caption:
    return facts.Caption(path, "", 0, "", problem=f"unreadable: {why}")


def images_in(folder: Path) -> int:
    """How many images a folder holds; 0 where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sum(1 for entry in entries if is_image(entry.name))
    return 0


BOM = "\ufeff"
LARGEST = 1 << 20  # bytes; a caption is a line of text

_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


def read_caption(path: Path) -> facts.Caption:
    """A caption file as the trainer reads it (library/dreambooth_dataset.py:100-112): UTF-8, the first line, stripped.

    A byte order mark stays in the prompt. A file without a byte is an assertion of the trainer, a blank first line an
    empty prompt.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            return _unreadable(path, "is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        return _unreadable(path, error.strerror or str(error))
    if len(data) > LARGEST:
        return _unreadable(path, "larger than a megabyte, too large for a caption")
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return facts.Caption(path, "", 0, digest, problem=facts.CAPTION_ENCODING, bytes=len(data))
    return replace(_caption(path, text, digest), bytes=len(data))


def caption_from_text(text: str, where: str) -> facts.Caption:
    """A caption that stands in a metadata file; ``where`` says in which row."""
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(data).hexdigest()
    try:
        data.decode()
    except UnicodeDecodeError:  # half a sign, written as \ud83d
        return facts.Caption(Path(where), "", 0, digest, problem=facts.CAPTION_ENCODING)
    return replace(_caption(Path(where), text, digest), bytes=len(data), written=text)


def _caption(path: Path, text: str, digest: str) -> facts.Caption:
    # open() in text mode ends a line at \n, \r\n and \r, and nowhere else: not what str.splitlines() does
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = lines[0].strip()
    problem = "" if first.strip(BOM).strip() else facts.CAPTION_BLANK if text else facts.CAPTION_EMPTY
    filled = sum(1 for line in lines if line.strip())
    return facts.Caption(path, first, filled, digest, problem=problem, bom=text.startswith(BOM))


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


SUFFIXES = (".json", ".jsonl")
"""Of a metadata file."""


def is_rows_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def is_edit_file(path: Path) -> bool:
    if not is_rows_file(path):
        return False
    from kohya_runner.dataset.metadata_rows import is_edit

    return is_edit(path)
