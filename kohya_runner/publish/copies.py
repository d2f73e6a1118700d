"""What goes up, byte for byte: text and pictures, and LoRA files with another header before the same tensors."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.artefact.file_hash import CHUNK
from kohya_runner.artefact.safetensors_header import LENGTH, Header, read_header
from kohya_runner.errors import NoCheckpointError
from kohya_runner.safe_files import open_file

LEGACY = "sshs_legacy_hash"
"""Of bytes behind the ``ss_`` keys (library/model_io.py:99, addnet_hash_legacy): wrong once one of them is changed."""
PRIVATE = ("ss_tag_frequency", "ss_datasets", "ss_dataset_dirs", "ss_reg_dataset_dirs")
"""Words of captions and names of folders (train_network.py:680-721, _build_metadata)."""
_FOLDERS = re.compile(
    r"""^(?:~|[A-Za-z]:)?[\\/].*[\\/](?=[^\\/]*$)"""  # the whole value is a path
    r"""|(?<=["'])(?:~|[A-Za-z]:)?[\\/][^"']*[\\/]"""  # one in quotes, of JSON
    r"""|(?<![\w:/.\\~"'+-])(?:~|[A-Za-z]:)?[\\/](?:[^\s"',;()\[\]{}]*[\\/])"""
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the repository as it shall be: ``head``, then what stands in ``source`` from ``start`` on."""

    name: str
    head: bytes
    source: Path | None
    start: int
    size: int
    sha256: str
    blob: str  # git's id of the same content
    changed: tuple[str, ...] = ()  # keys of the metadata that are not as in the source

    def content(self) -> Iterator[bytes]:
        yield self.head
        if self.source is not None:
            with open_file(self.source) as file:
                file.seek(self.start)
                while chunk := file.read(CHUNK):
                    yield chunk

    def write(self, target: Path) -> None:
        """Put it there, whole or not at all, and read back what the disk has.

        Raises ``NoCheckpointError``: the source changed meanwhile, or the disk gives back other bytes.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as file:
            for chunk in self.content():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        with partial.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != self.sha256:
            partial.unlink()
            raise NoCheckpointError(f"{self.name}: the copy is not what it must be", hint="see that nothing changes it")
        partial.replace(target)


def piece(name: str, head: bytes, source: Path | None = None, start: int = 0, changed: tuple[str, ...] = ()) -> Piece:
    """A file with its hashes; the source is read from end to end."""
    size = len(head) + (source.stat().st_size - start if source else 0)
    raw = Piece(name, head, source, start, size, "", "", changed)
    digest, blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for chunk in raw.content():
        digest.update(chunk)
        blob.update(chunk)
    return Piece(name, head, source, start, size, digest.hexdigest(), blob.hexdigest(), changed)


def model_piece(name: str, source: Path, fields: Mapping[str, str], *, clean: bool) -> Piece:
    """A safetensors file with these fields of metadata; the tensors are those of the source."""
    header = read_header(source)
    metadata = {**(cleaned(header.metadata) if clean else header.metadata), **fields}
    if any(metadata.get(key) != text for key, text in header.metadata.items() if key.startswith("ss_")):
        metadata.pop(LEGACY, None)
    keys = (*header.metadata, *(key for key in metadata if key not in header.metadata))
    changed = tuple(key for key in keys if metadata.get(key) != header.metadata.get(key))
    if not changed:
        return piece(name, b"", source)
    start = header.total - max((tensor.end for tensor in header.tensors), default=0)
    return piece(name, head_of(header, metadata), source, start, changed)


def head_of(header: Header, metadata: Mapping[str, str]) -> bytes:
    """Length and JSON with this metadata and the same tensors, as long as a multiple of 8, as safetensors has it."""
    rows = {t.name: {"dtype": t.dtype, "shape": t.shape, "data_offsets": (t.begin, t.end)} for t in header.tensors}
    text = json.dumps({"__metadata__": dict(metadata), **rows}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text


def cleaned(metadata: Mapping[str, str]) -> dict[str, str]:
    """Without words of captions and names of folders; of every path only the last part is left."""
    kept = {key: text for key, text in metadata.items() if key not in PRIVATE}
    return {key: text if text.startswith("data:") else without_folders(text) for key, text in kept.items()}


def without_folders(text: str) -> str:
    """A text whose absolute paths are cut to their last part."""
    return _FOLDERS.sub("", text)
