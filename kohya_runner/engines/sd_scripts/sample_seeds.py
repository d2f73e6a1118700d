"""The seeds that a file of sample prompts states, read as the trainer reads it (library/train_util.py:6254, :6324)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MOST_BYTES = 1_000_000
SEED = re.compile(r"d (\d+)", re.IGNORECASE)


def sample_seeds(path: Path) -> tuple[int, ...]:
    """Every seed, in order; none where the file cannot be read, is no file of prompts or is very large."""
    read = READERS.get(path.suffix)
    if read is None:
        return ()
    try:
        if path.stat().st_size > MOST_BYTES:
            return ()
        return tuple(read(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return ()


def _lines(text: str) -> Iterator[int]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield from _line(line.strip())


def _line(line: str) -> Iterator[int]:
    """The last of several counts; a minus is not read at all."""
    found = [int(match[1]) for part in line.split(" --") if (match := SEED.match(part))]
    yield from found[-1:]


def _json(text: str) -> Iterator[int]:
    prompts: Any = json.loads(text)
    for prompt in prompts if isinstance(prompts, list) else ():
        if isinstance(prompt, str):
            yield from _line(prompt)
        elif isinstance(prompt, dict) and isinstance(prompt.get("seed"), int | str):
            yield int(prompt["seed"])


READERS: Mapping[str, Callable[[str], Iterator[int]]] = {".txt": _lines, ".json": _json}
"""TOML is read by the trainer as well, and left alone here."""
