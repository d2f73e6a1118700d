"""What the text after ``model:`` (or a component) points at."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kohya_runner.recipe.models import RandomModel

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.recipe.load import Loaded
    from kohya_runner.yamlio import Key

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z", re.ASCII)
FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".sft")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model or a component: a Hub repository, a path on this machine, a file of the Hub, or random weights."""

    kind: Literal["hub", "path", "hub_file", "random"]
    text: str
    where: str
    path: Path | None = None  # for "path"


def reference(loaded: Loaded, value: str | RandomModel, *at: Key) -> Reference:
    """Classify a value: ``hf://`` first, then a path that exists or looks like one, then ``org/repo``."""
    where = loaded.where(*at)
    if isinstance(value, RandomModel):
        return Reference("random", value.random, where)
    if value.startswith("hf://"):
        return Reference("hub_file", value, where)
    path = loaded.path_from(value, *at)
    looks_local = value.startswith((".", "/", "~")) or value.lower().endswith(FILE_SUFFIXES)
    if looks_local or os.path.exists(path) or not HUB_ID.match(value):
        return Reference("path", value, where, path)
    return Reference("hub", value, where)
