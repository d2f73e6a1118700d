"""A file that grows, read from where the last look ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1 << 20


class Tail:
    """Reads what was appended. The file need not be there yet."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Begin at a byte of the file."""
        self._path = path
        self._offset = offset

    def read(self) -> Iterator[bytes]:
        """What came since the last time, in pieces."""
        try:
            if self._path.stat().st_size == self._offset:
                return
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while data := file.read(_PIECE):
                    self._offset += len(data)
                    yield data
        except OSError:
            return
