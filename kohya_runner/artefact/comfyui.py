"""Which keys of a LoRA file ComfyUI loads, by the names that its own loaders know.

They are facts of one commit of ComfyUI, taken from its own functions (comfy/lora.py, comfy/weight_adapter) into
comfyui.json; biases alone are not among them. The models are those of full size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from kohya_runner.artefact.lora import ALIKE, inspect
from kohya_runner.artefact.model_identity import identify
from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.safe_files import read_json

_BRACES = re.compile(r"\{([\d,-]+)\}")


@dataclass(frozen=True, slots=True)
class ComfyNames:
    """A file's keys beside those that ComfyUI asks for. ``family`` "": not known, nothing is said of the keys."""

    family: str = ""
    keys: int = 0
    skipped: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """Why ComfyUI loads less than the file holds, as the rest of a sentence; "" if all, or nobody knows."""
        if not self.skipped:
            return ""
        what = "none" if len(self.skipped) == self.keys else f"{self.keys - len(self.skipped)}"
        return f"is not for ComfyUI as it is: it would load {what} of {self.keys} keys"


@cache
def table() -> dict[str, Any]:
    """The names that are facts, by family, and the endings that its adapters read."""
    return read_json(Path(__file__).with_name("comfyui.json"))


@cache
def known_names(family: str) -> frozenset[str]:
    """What ComfyUI asks for with a model of this family and its text encoders, without endings; none if not known."""
    groups = table()["families"].get(family, ())
    rows = table()["families"][groups] if isinstance(groups, str) else groups
    return frozenset(
        form.format(name=name, flat=name.replace(".", "_"))
        for group in rows
        for pattern in group["names"]
        for name in _expanded(pattern)
        for form in group["forms"]
    )


def _expanded(pattern: str) -> Iterator[str]:
    """``a.{0-1}.b`` is ``a.0.b`` and ``a.1.b``."""
    parts = _BRACES.split(pattern)
    runs = [[run.partition("-") for run in text.split(",")] for text in parts[1::2]]
    choices = ([n for first, _, last in one for n in range(int(first), int(last or first) + 1)] for one in runs)
    for numbers in product(*choices):
        yield "".join(text for pair in zip(parts[::2], (*map(str, numbers), ""), strict=True) for text in pair)


def comfy_names(path: Path, family: str = "") -> ComfyNames:
    """What ComfyUI would do with a LoRA file. Families that are named alike are told apart by what fits best."""
    found, what = inspect(path), identify(read_header(path))
    told = family or found.family
    rows = [name for name in (told, *ALIKE.get(told, ())) if name in table()["families"]]
    if what is None or what.key != "lora" or not rows:
        return ComfyNames()
    endings = sorted(table()["suffixes"], key=len, reverse=True)
    bases = {key: tuple(key.removesuffix(end) for end in endings if key.endswith(end)) for key in found.names}
    lost = {row: tuple(key for key in found.names if known_names(row).isdisjoint(bases[key])) for row in rows}
    best = min(rows, key=lambda row: len(lost[row]))
    return ComfyNames(best, len(found.names), lost[best])
