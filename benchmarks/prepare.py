"""``dataset prepare`` beside a bare Pillow loop of the same operations on all cores, and its second run.

    python benchmarks/prepare.py [PICTURES] [PIECES] [--size 1024] [--style photos|pixel_art]

Photographs of 1600x1067 are made smaller for 1024 (of 400x266 for 256) and written as PNG; sprites enlarged by bilinear
and JPEG get their grid back. Both ways take the same files in turn, in pieces and in changing order, so that a busy
machine slows both; beside the seconds it tells the processor time, which a busy machine changes little. In a third run
three pictures are new. Ends with 1 below the limits.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ImageOps

from kohya_runner.dataset.buckets import make_buckets, select
from kohya_runner.dataset.prepare.pixel_grid import find_grid
from kohya_runner.dataset.prepare.prepare import prepare
from kohya_runner.dataset.prepare.shaping import PrepareSettings, Style, settings_for
from kohya_runner.dataset.survey import cores

FIRST = 0.9  # of the bare loop's pictures a second
SECOND = 1 / 20  # of the first run's seconds
LANCZOS, NEAREST = PIL.Image.Resampling.LANCZOS, PIL.Image.Resampling.NEAREST


def bare_photo(job: tuple[str, str, int]) -> None:
    with PIL.Image.open(job[0]) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    chosen = select(make_buckets(settings_for(job[2])), upright.size)
    if chosen is not None:
        upright.resize(chosen[1], LANCZOS).save(job[1], compress_level=1)


def bare_sprite(job: tuple[str, str, int]) -> None:
    with PIL.Image.open(job[0]) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    grid = find_grid(upright)
    small = grid.reduced(upright) if grid else upright
    times = job[2] // small.width
    small.resize((small.width * times, small.height * times), NEAREST).save(job[1])


def draw(folder: Path, count: int, style: Style, seed: int, size: int) -> None:
    folder.mkdir(exist_ok=True)
    wide, high = 1600 * size // 1024, 1067 * size // 1024
    dice = random.Random(seed)
    few = PIL.Image.frombytes("RGB", (160, 160), dice.randbytes(160 * 160 * 3))
    large = PIL.Image.blend(
        few.resize((6000, 6000), PIL.Image.Resampling.BICUBIC),
        PIL.Image.effect_noise((6000, 6000), 30).convert("RGB"),
        0.2,
    )
    for number in range(count):
        if style == "photos":
            x, y = dice.randrange(4400), dice.randrange(4900)
            light = [dice.randrange(30, 101) for _ in "rgb"]  # photographs differ in it
            table = [value * one // 100 for one in light for value in range(256)]
            tinted = large.crop((x, y, x + wide, y + high)).point(table)
            tinted.save(folder / f"{number:05d}.jpg", quality=90)
        else:
            sprite = PIL.Image.frombytes("RGB", (32, 32), bytes(dice.choices((20, 90, 160, 230), k=32 * 32 * 3)))
            sprite.resize((size // 2, size // 2), PIL.Image.Resampling.BILINEAR).save(
                folder / f"{number:05d}.jpg", quality=90
            )


def bare(folder: Path, target: Path, style: Style, size: int) -> int:
    target.mkdir()
    jobs = [(str(path), str(target / f"{path.stem}.png"), size) for path in sorted(folder.iterdir())]
    with ProcessPoolExecutor(cores()) as pool:
        return len(list(pool.map(bare_photo if style == "photos" else bare_sprite, jobs, chunksize=8)))


def ours(folder: Path, target: Path, style: Style, size: int) -> int:
    return prepare(folder, target, PrepareSettings(settings_for(size), style)).made


def timed(way: Callable[[Path, Path, Style, int], int], *args: Any) -> tuple[float, float, int]:
    """Seconds, seconds of processors, and how many pictures were made."""

    def processors() -> float:
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(sum(resource.getrusage(one)[:2]) for one in whose)

    begun, used = time.perf_counter(), processors()
    made = way(*args)
    return time.perf_counter() - begun, processors() - used, made


def compared(style: Style, count: int, pieces: int, size: int, room: Path) -> bool:
    """Both ways over each piece, then ours over all of it again; whether the limits hold."""
    ratios, work, firsts, seconds = [], [], 0.0, 0.0
    ways = (("bare", bare), ("ours", ours))
    for turn in range(pieces):
        folder = room / f"{style}-{turn}"
        draw(folder, count // pieces, style, turn, size)
        both = {
            name: timed(way, folder, room / f"{style}-{turn}-{name}", style, size)
            for name, way in ways[:: 1 if turn % 2 else -1]
        }
        took = {name: found[0] for name, found in both.items()}
        again, _, idle = timed(ours, folder, room / f"{style}-{turn}-ours", style, size)
        draw(folder, 3, style, turn + 1000, size)
        changed = timed(ours, folder, room / f"{style}-{turn}-ours", style, size)[2]
        if (both["ours"][2], idle, changed) != (count // pieces, 0, 3):
            sys.exit(f"made {both['ours'][2]}, then {idle}, then {changed} pictures")
        ratios.append(took["bare"] / took["ours"])
        work.append(both["bare"][1] / both["ours"][1])
        firsts, seconds = firsts + took["ours"], seconds + again
        for name in ("", "-bare", "-ours"):
            shutil.rmtree(room / f"{style}-{turn}{name}")
        print(f"{style} {turn + 1}: bare loop {took['bare']:.2f} s, prepare {took['ours']:.2f} s, again {again:.3f} s")
    middle = statistics.median(ratios)
    spread = f"median of {pieces} pieces, {min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{style}: {middle:.3f} of the bare loop's speed ({spread}), {count / firsts:.1f} pictures/s")
    print(f"{style}: {statistics.median(work):.3f} of its speed by processor time ({min(work):.2f} to {max(work):.2f})")
    print(f"{style}: second run 1/{firsts / seconds:.0f} of the first")
    return middle >= FIRST and seconds <= SECOND * firsts


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", type=int, nargs="?", default=400)
    parser.add_argument("pieces", type=int, nargs="?", default=8)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--style", choices=("photos", "pixel_art"))
    given = parser.parse_args()
    styles: tuple[Style, ...] = (given.style,) if given.style else ("photos", "pixel_art")
    with tempfile.TemporaryDirectory() as room:
        good = [compared(style, given.pictures, given.pieces, given.size, Path(room)) for style in styles]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
