"""What the trainer's environment must hold: pure decisions over sd-scripts' requirements and the image's Python."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kohya_runner.install.probe import PythonFacts

MINORS = ("3.11", "3.10", "3.12")
"""The Pythons sd-scripts and every wheel of the tested set run on, best first."""

BITSANDBYTES = "0.50.2"
GIB = 1 << 30
OPENCV_BUILDS = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True, slots=True)
class TorchSet:
    """Versions that belong together: xformers is built for exactly one torch (its own wheel metadata)."""

    torch: str
    torchvision: str
    xformers: str


SETS = (
    TorchSet("2.8.0", "0.23.0", "0.0.32.post1"),
    TorchSet("2.6.0", "0.21.0", "0.0.29.post3"),
    TorchSet("2.7.1", "0.22.1", "0.0.31.post1"),
    TorchSet("2.9.1", "0.24.1", "0.0.33.post2"),
)
TESTED = SETS[0]
"""What a fresh environment gets: pyproject's ``train`` extra, the set that was run together."""


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """A venv as it will be made. ``image_torch``: the base Python's own torch is used, and nothing may replace it."""

    base: Path
    python: str
    image_torch: bool
    constraints: tuple[str, ...]
    torch: tuple[str, ...]
    requirements: tuple[str, ...]
    xformers: str

    @property
    def stamp(self) -> str:
        """Changes with everything that would make another environment."""
        parts = (str(self.base), self.python, *self.constraints, *self.torch, *self.requirements, self.xformers)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def needed_bytes(self) -> int:
        """Measured: 7.5 GB with torch, 1.1 GB beside the image's; a third more while wheels are unpacked."""
        return 2 * GIB if self.image_torch else 10 * GIB


def without_local(version: str | None) -> str | None:
    """``2.8.0`` of ``2.8.0+cu128``."""
    return version.partition("+")[0] if version else None


def image_set(facts: PythonFacts) -> TorchSet | None:
    """The set of a base Python whose own torch can be used; a venv's packages are not passed on to another venv."""
    if facts.venv or facts.minor not in MINORS or not facts.packages.get("torchvision"):
        return None
    torch = without_local(facts.packages.get("torch"))
    return next((row for row in SETS if row.torch == torch), None)


def plan_environment(
    candidates: Iterable[PythonFacts], requirements: str, *, has_libgl: bool, xformers: bool = True
) -> EnvironmentPlan | None:
    """The environment to make here, on the image's torch if that fits; None where no Python fits."""
    usable = [facts for facts in candidates if facts.minor in MINORS]
    lines = requirement_lines(requirements, has_libgl=has_libgl)
    for facts in usable:
        chosen = image_set(facts)
        if chosen:
            pins = tuple(f"{name}=={facts.packages[name]}" for name in ("torch", "torchvision"))
            return _plan(facts, pins, (), (lines, chosen.xformers if xformers else ""))
    for facts in sorted(usable, key=lambda each: (each.venv, MINORS.index(each.minor))):
        pins = (f"torch=={TESTED.torch}", f"torchvision=={TESTED.torchvision}")
        return _plan(facts, pins, pins, (lines, TESTED.xformers if xformers else ""))
    return None


def _plan(
    facts: PythonFacts, pins: tuple[str, ...], torch: tuple[str, ...], rest: tuple[tuple[str, ...], str]
) -> EnvironmentPlan:
    lines, xformers = rest
    constraints = (*pins, f"bitsandbytes=={BITSANDBYTES}")
    extra = f"xformers=={xformers}" if xformers else ""
    return EnvironmentPlan(facts.executable, facts.python, not torch, constraints, torch, lines, extra)


def requirement_lines(text: str, *, has_libgl: bool = True) -> tuple[str, ...]:
    """The requirements of sd-scripts without comments and without ``-e .``.

    The scripts import ``library`` from their own folder, and an editable install would write into the checkout.
    Where libGL is missing (slim images), the headless build of the same OpenCV stands in: the trainer opens no windows.
    """
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith(("#", "-"))]
    return tuple(
        kept if has_libgl else (re.sub(r"^opencv-python(?=[=<>~!\[]|$)", "opencv-python-headless", x) for x in kept)
    )


def requirement_names(text: str) -> tuple[str, ...]:
    """The distributions that the requirements name."""
    return tuple(re.split(r"[\[=<>~!; ]", line, maxsplit=1)[0] for line in requirement_lines(text))


def missing(facts: PythonFacts, names: Iterable[str]) -> tuple[str, ...]:
    """Which of ``names`` (probed before) that Python lacks. One build of OpenCV is as good as another."""
    others = {"opencv-python": OPENCV_BUILDS}
    return tuple(name for name in names if not any(map(facts.packages.get, (name, *others.get(name, ())))))
