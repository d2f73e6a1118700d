"""What starting costs: commands against a bare import of the libraries they need, as whole processes.

    python benchmarks/startup.py [ROUNDS]

Every round runs each command and its bare import once, side by side and in turns, so that both see the same machine;
the medians are compared. What a command needs is asked of it, once, before the rounds: those of LIBRARIES it loads.
Everything is compiled beforehand, as in an installed package. The processor's seconds, children included, are shown
beside those of the clock: they say what a busy machine hides. Fails where a ratio of the clock is over its limit.
"""

from __future__ import annotations

import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image

ROOT = Path(__file__).parents[1]
IMAGES = 203
SIDE = 24
SCRIPT = "import sys; from kohya_runner.commands.cli import main; sys.exit(main())"
"""What the installed ``kohya-runner`` does."""
LIBRARIES = {
    "click": "import click",
    "pydantic": "from pydantic import BaseModel",
    "ruamel.yaml": "from ruamel.yaml import YAML",
    "jinja2": "from jinja2.sandbox import ImmutableSandboxedEnvironment",
    "PIL": "import PIL.Image",
    "rich": "from rich.console import Console",
    "huggingface_hub": "from huggingface_hub import HfApi",
}
"""The package's dependencies, and how it imports each. (``import pydantic`` alone loads next to nothing.)"""


@dataclass(slots=True)
class Series:
    """What one command line took in every round: seconds by the clock, seconds of the processor."""

    argv: tuple[str, ...]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self) -> None:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run(self.argv)
        self.wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


@dataclass(frozen=True, slots=True)
class Pair:
    """A command, the bare import of the libraries it needs, and how many times as long it may take."""

    what: str
    libraries: tuple[str, ...]
    own: Series
    bare: Series
    limit: float

    @property
    def wall(self) -> float:
        return statistics.median(self.own.wall) / statistics.median(self.bare.wall)

    @property
    def cpu(self) -> float:
        return statistics.median(self.own.cpu) / statistics.median(self.bare.cpu)


def main(rounds: int = 15) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        draw(folder / "pictures")
        pairs = (
            pair("--help", package("--help"), 1.3),
            pair("plan --elsewhere", plan(folder, "bespoke_baby_sdxl.yaml", "--elsewhere"), 2.5),
            pair("plan", plan(folder, "quickstart.yaml", f"--set=datasets.0.expect={IMAGES}"), 4.5),
        )
        for number in range(rounds):
            for each in pairs:
                for series in (each.own, each.bare) if number % 2 == 0 else (each.bare, each.own):
                    series.measure()
    print(f"medians of {rounds}; {IMAGES} images; seconds by the clock, of the processor")
    for each in pairs:
        print(report(each))
    sys.exit(0 if all(each.wall <= each.limit for each in pairs) else 1)


def draw(folder: Path) -> None:
    """Sprites of 24 x 24 pixels in six colours, with captions that the bespoke recipe accepts."""
    folder.mkdir()
    dice = random.Random(0)
    for number in range(IMAGES):
        colours = [dice.randbytes(3) for _ in range(6)]
        pixels = b"".join(dice.choices(colours, k=SIDE * SIDE))
        PIL.Image.frombytes("RGB", (SIDE, SIDE), pixels).save(folder / f"{number:03}.png")
        palette = ", ".join(f"#{colour.hex()}" for colour in colours)
        caption = f"pixel art, 24x24, portrait of bespoke punk, palette: {palette}"
        (folder / f"{number:03}.txt").write_text(caption, encoding="utf-8")


def package(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", SCRIPT, *words)


def plan(folder: Path, recipe: str, *words: str) -> tuple[str, ...]:
    pictures, workspace = f"--set=datasets.0.images={folder / 'pictures'}", f"--workspace={folder / 'workspace'}"
    return package("plan", str(ROOT / "recipes" / recipe), pictures, workspace, *words)


def pair(what: str, argv: tuple[str, ...], limit: float) -> Pair:
    """Runs both once, so that nothing is compiled while it is measured."""
    needed = imported(argv)
    bare = (sys.executable, "-c", "\n".join(LIBRARIES[name] for name in needed))
    run(bare)
    return Pair(what, needed, Series(argv), Series(bare), limit)


def imported(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Those of LIBRARIES that the command loads; it must end well."""
    done = run((argv[0], "-X", "importtime", *argv[1:]))
    names = set(re.findall(r"^import time:.*\|\s*(\S+)$", done.stderr, flags=re.MULTILINE))
    return tuple(name for name in LIBRARIES if name in names)


def run(argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)


def report(each: Pair) -> str:
    def shown(series: Series) -> str:
        middle = statistics.median(series.wall)
        return f"{middle:.3f} ({min(series.wall):.3f} to {max(series.wall):.3f}), {statistics.median(series.cpu):.3f}"

    verdict = "within" if each.wall <= each.limit else "OVER"
    return (
        f"\n{each.what}\n  command   {shown(each.own)}\n  imports   {shown(each.bare)}   {' '.join(each.libraries)}\n"
        f"  ratio     {each.wall:.2f}, of the processor {each.cpu:.2f}   {verdict} the limit of {each.limit}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
