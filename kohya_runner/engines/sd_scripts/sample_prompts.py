"""The seeds and sizes in a file of sample prompts, as the trainer reads it (library/train_util.py:6254, :6324)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MOST_BYTES = 1_000_000
NUMBERS = {name: re.compile(rf"{name[0]} (\d+)", re.IGNORECASE) for name in ("width", "height")}
NUMBERS["seed"] = re.compile(r"d (\d+)", re.IGNORECASE)

Prompt = dict[str, int]


def sample_seeds(path: Path) -> tuple[int, ...]:
    """Every seed, in order; none where the file cannot be read, is no file of prompts or is very large."""
    return tuple(prompt["seed"] for prompt in _prompts(path) if "seed" in prompt)


def sample_sizes(path: Path) -> tuple[tuple[int | None, int | None], ...]:
    """Every size, width first; None for a side that is not stated."""
    return tuple((p.get("width"), p.get("height")) for p in _prompts(path) if "width" in p or "height" in p)


def _prompts(path: Path) -> tuple[Prompt, ...]:
    read = READERS.get(path.suffix)
    if read is None:
        return ()
    try:
        if path.stat().st_size > MOST_BYTES:
            return ()
        return tuple(read(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return ()


def _lines(text: str) -> Iterator[Prompt]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield _line(line.strip())


def _line(line: str) -> Prompt:
    """The last of several counts; a minus is not read at all."""
    parts = line.split(" --")
    return {name: int(m[1]) for part in parts for name, pattern in NUMBERS.items() if (m := pattern.match(part))}


def _json(text: str) -> Iterator[Prompt]:
    prompts: Any = json.loads(text)
    for prompt in prompts if isinstance(prompts, list) else ():
        if isinstance(prompt, str):
            yield _line(prompt)
        elif isinstance(prompt, dict):
            yield {name: int(prompt[name]) for name in NUMBERS if isinstance(prompt.get(name), int | str)}


READERS: Mapping[str, Callable[[str], Iterator[Prompt]]] = {".txt": _lines, ".json": _json}
"""TOML is read by the trainer as well, and left alone here."""
