"""The pictures of a folder before they are prepared: their new names, and the files that go with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.dataset.captions import images_in, stem
from kohya_runner.dataset.facts import FOCUS, Source
from kohya_runner.dataset.prepare.manifest import source_stamp
from kohya_runner.dataset.prepare.reading import ENDINGS
from kohya_runner.dataset.prepare.shaping import read_focus
from kohya_runner.findings import Finding, warning


@dataclass(frozen=True, slots=True)
class Raw:
    """A picture of the source: its own name, the name it gets, and the files that go with it."""

    path: Path
    name: str
    sidecars: tuple[str, ...]

    @property
    def state(self) -> str:
        """What decides whether it is done again: its size and time, and those of its focus."""
        return f"{source_stamp(self.path)} {source_stamp(self.path.with_suffix(FOCUS))}".strip()

    @property
    def refused(self) -> str:
        """Why the file is not opened: a link may lead to a secret."""
        return Source(self.path.parent, "").refuses(self.path)

    def targets(self) -> Iterator[tuple[str, str]]:
        """The files that go with a picture, and their names beside the new one."""
        return ((name, stem(self.name) + name[len(stem(name)) :]) for name in self.sidecars)

    def focus(self) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
        """What a crop keeps, and what is wrong with it."""
        try:
            found = read_focus(self.path.with_suffix(FOCUS))
        except OSError:
            return None, ()
        return found, () if found else ("its focus is not two numbers from 0 to 1",)


def raw_pictures(source: Path, suffix: str) -> tuple[tuple[Raw, ...], tuple[Finding, ...]]:
    """The pictures of a folder in the order of their names, each with a name of its own."""
    found = sorted(entry.name for entry in os.scandir(source) if not entry.name.startswith(".") and entry.is_file())
    ending = {name: os.path.splitext(name)[1].lower() for name in found}  # noqa: PTH122
    beside: dict[str, list[str]] = {}
    for name in found:
        if ending[name] not in ENDINGS:
            beside.setdefault(stem(name), []).append(name)
    taken: set[str] = set()
    raws = []
    for name in (name for name in found if ending[name] in ENDINGS):
        base = stem(name)
        tries = (base, f"{base}_{ending[name][1:]}", *(f"{base}_{number}" for number in range(2, len(found) + 2)))
        chosen = next(one for one in tries if one.casefold() not in taken)
        taken.add(chosen.casefold())
        raws.append(Raw(source / name, chosen + suffix, tuple(beside.get(base, ()))))
    below = [entry.name for entry in os.scandir(source) if entry.is_dir() and images_in(source / entry.name)]
    told = f"images in folders below are not prepared: {', '.join(sorted(below))}"
    return tuple(raws), (warning("dataset.subfolders", told, where=str(source)),) if below else ()
