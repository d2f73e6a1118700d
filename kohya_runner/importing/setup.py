"""What a foreign file really gave the trainer, whichever program wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kohya_runner.engines.table import options_for
from kohya_runner.options.script_options import ScriptOptions

Options: TypeAlias = dict[str, Any]
OPEN = "\0"
"""Around the name of what a script computes: such a value is left open."""


class ImportNote(NamedTuple):
    """What became of a key, in words."""

    key: str
    text: str


@dataclass(slots=True)
class Subset:
    """A folder of pictures, or a parent of ``N_concept`` folders. ``options`` are its own."""

    images: str
    concept: str = ""
    repeats: int = 1
    regularization: bool = False
    parent: bool = False
    extension: str | None = None
    conditioning: str = ""
    options: Options = field(default_factory=dict)


@dataclass(slots=True)
class Setup:
    """One training. ``given`` are the values that the trainer has after it has read its command line and its files."""

    source: Path
    kind: str
    script: str = ""
    method: str = ""
    given: Options = field(default_factory=dict)
    launch: Options = field(default_factory=dict)
    subsets: list[Subset] = field(default_factory=list)
    prompts: tuple[str, ...] = ()
    notes: list[ImportNote] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)  # option -> the variable that it belongs into
    open: set[str] = field(default_factory=set)  # what the source does not say: not the same as "not passed"
    terse: bool = False  # a form lists every option: what is the trainer's default needs no line

    @property
    def options(self) -> ScriptOptions:
        return options_for(self.script, None)

    def note(self, key: str, text: str) -> None:
        if (said := ImportNote(key, text)) not in self.notes:
            self.notes.append(said)

    def update(self, given: Mapping[str, Any]) -> None:
        """Values that count more than those before."""
        for name, value in given.items():
            self.given.pop(name, None)  # the order is that of the last word
            self.given[name] = value
