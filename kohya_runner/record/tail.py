"""The log of a run: what was appended since the last look, and its last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1 << 20
_TAIL_BYTES = 1 << 18


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


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log; of a bar that was redrawn only its last state."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in data.decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line][-count:] if count else [line for line in lines if line]
