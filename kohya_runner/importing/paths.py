"""Paths of another machine as this one's: mapped, looked for below a folder, or left for the plan to name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kohya_runner.errors import UsageError

_FOREIGN = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\|[\w .-]+\\)")


@dataclass(frozen=True, slots=True)
class Places:
    """``beside``: the folder of the foreign file. ``recipe``: the folder of the new one, which its paths start from."""

    beside: Path
    recipe: Path
    base: Path | None = None
    maps: tuple[tuple[str, str], ...] = ()

    def path(self, text: str) -> str:
        """A path for the recipe: absolute, or relative to the recipe's folder."""
        plain = text.strip().replace("\\", "/") if _FOREIGN.match(text.strip()) else text.strip()
        for old, new in self.maps:
            if plain.lower().startswith(old.lower()):
                return f"{new}{plain[len(old) :].lstrip('/') if new.endswith('/') else plain[len(old) :]}"
        absolute = plain.startswith(("/", "~")) or re.match(r"[A-Za-z]:/|//", plain)
        if absolute and os.path.exists(os.path.expanduser(plain)):  # noqa: PTH111 - ~nobody raises nothing
            return plain
        if self.base is None:
            return plain if absolute else self._shown(self.beside / plain)
        # the longest end of the path that is there; else its last part, which the plan will miss
        named = PurePosixPath(re.sub(r"^[A-Za-z]:", "", plain)).parts
        parts = [part for part in named if part not in ("/", "//", ".", "..")]
        tails = [self.base.joinpath(*parts[number:]) for number in range(len(parts))] or [self.base]
        there = next((one for one in tails if one.exists()), None)
        return self._shown(there or tails[0 if not plain.startswith("/") and ":" not in plain else -1])

    def _shown(self, path: Path) -> str:
        """Relative where that stays near: a recipe moves with its folder."""
        relative = os.path.relpath(path, self.recipe)
        near = not relative.startswith("../../")
        return (relative if relative.startswith("..") else f"./{relative}") if near else str(path.absolute())

    def maybe_hub(self, text: str) -> str:
        """The same for what may be a repository of the Hub: ``org/name`` that is no file here stays."""
        hub = re.fullmatch(r"[\w.-]+/[\w.-]+", text.strip()) and not text.lower().endswith((".safetensors", ".ckpt"))
        return text.strip() if hub and not (self.beside / text.strip()).exists() else self.path(text)


def read_maps(told: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``E:=/data``: what paths begin with there and here, the longest first."""
    pairs = []
    for one in told:
        old, equals, new = one.partition("=")
        if not (equals and old and new):
            raise UsageError(f"--map '{one}' is not OLD=NEW", hint="write --map 'E:=/data'")
        pairs.append((old.replace("\\", "/"), new))
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))
