"""Packages of the trainer's Python: what classes take and how lists of names read, as installed, else as shipped.

``packages.json`` has what the versions say that the pinned commit was run with; it stands where nothing is installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kohya_runner.options.package_sources import PackageSources
    from kohya_runner.options.script_options import Option

FILE = Path(__file__).with_name("packages.json")
LAUNCHER = "accelerate.commands.launch.launch_command_parser"


BASES = ("Optimizer", "LRScheduler")
LATER = {"torch.optim": ("Muon",)}
"""Classes that a later version has: from torch 2.9 on."""


class Takes(NamedTuple):
    """Parameters of a class or function; ``more``: it takes others, too (``**kwargs``)."""

    names: tuple[str, ...]
    needed: tuple[str, ...]
    more: bool


@lru_cache
def shipped_packages() -> Mapping[str, Any]:
    """What the file says: by what is asked, by what it is asked of."""
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


class Packages:
    """``installed``: the folders of packages that are read where they are; ``same`` are there as shipped."""

    def __init__(self, installed: Mapping[str, str] | None = None, same: Iterable[str] = ()) -> None:
        self.installed, self.same = dict(installed or {}), frozenset(same)
        self._known: dict[tuple[str, str], Any] = {}
        self._sources: PackageSources | None = None

    def has(self, name: str) -> bool:
        """Whether the package of a dotted name is read where it is installed."""
        return name.partition(".")[0] in self.installed

    def sure(self, name: str) -> bool:
        """Whether the package of a dotted name was seen in the trainer's Python."""
        return name.partition(".")[0] in {*self.installed, *self.same}

    @property
    def sources(self) -> PackageSources:
        if self._sources is None:
            from kohya_runner.options.package_sources import PackageSources

            self._sources = PackageSources(self.installed)
        return self._sources

    def _ask(self, what: str, name: str) -> Any:
        if (what, name) not in self._known:
            told = getattr(self.sources, what)(name) if self.has(name) else shipped_packages()[what].get(name)
            self._known[what, name] = told
        return self._known[what, name]

    def takes(self, name: str) -> Takes | None:
        """What a class or function takes; None where that is not known."""
        found = self._ask("takes", name)
        return Takes(*found) if found else None

    def classes(self, module: str) -> tuple[str, ...]:
        """The classes that a module lists, without the one that they are made of."""
        later = () if self.sure(module) else LATER.get(module, ())
        return tuple(name for name in (*(self._ask("classes", module) or ()), *later) if name not in BASES)

    def schedulers(self, enumeration: str) -> Mapping[str, tuple[str, str]]:
        """The members of an enumeration of schedulers: its text, and the function that makes it."""
        found: Mapping[str, tuple[str, str]] = self._ask("schedulers", enumeration) or {}
        return found

    def launcher(self) -> Mapping[str, Option]:
        """The options of ``accelerate launch`` that take one plain value, or none."""
        from kohya_runner.options.snapshot import option_of

        found = self._ask("launcher", LAUNCHER) or {}
        return {name: option_of(row) if isinstance(row, dict) else row for name, row in found.items()}


PLATEAU = "reduce_lr_on_plateau"
"""Its function hands all keywords on, and what they reach takes none of those that a trainer passes."""


def scheduler_arguments(passed: Mapping[str, tuple[str, ...]], packages: Packages) -> dict[str, tuple[str, ...] | None]:
    """Scheduler -> what it takes beside the keywords that a trainer passes (``optimizers.py``); None: it fails."""
    found: dict[str, tuple[str, ...] | None] = {}
    homes = [member.rpartition(".")[0] for member in passed if member]
    for home in sorted(set(homes), key=homes.count):
        for member, (text, function) in packages.schedulers(home).items():
            given = passed.get(f"{home}.{member}", passed.get("", ()))
            takes = packages.takes(function)
            if takes is not None and (homes.count(home) > 1 or f"{home}.{member}" in passed):
                fails = text == PLATEAU or (set(given) - set(takes.names) and not takes.more)
                found[text] = None if fails else tuple(name for name in takes.names[1:] if name not in given)
    return found
