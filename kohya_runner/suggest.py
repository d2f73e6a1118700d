"""The nearest name to a misspelt one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The most similar name, or None where nothing comes close."""
    by_lower = {name.lower().replace("-", "_"): name for name in names}
    found = get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of names where none comes close and the list is short."""
    names = tuple(names)
    best = nearest(word, names)
    if best:
        return f"did you mean '{best}'?"
    few = 14
    return "allowed: " + ", ".join(sorted(names)) if len(names) <= few else ""
