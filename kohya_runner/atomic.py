"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


PRIVATE = 0o600  # of what may hold values of the environment


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` in one step: a temporary file beside it, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        os.replace(name, path)  # noqa: PTH105 - the atomic call, by its name
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """``write_bytes`` of UTF-8 text."""
    write_bytes(path, text.encode(), mode)


def write_json(path: Path, value: Mapping[str, Any], mode: int = 0o644) -> None:
    """``write_text`` of an indented JSON object."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", mode)
