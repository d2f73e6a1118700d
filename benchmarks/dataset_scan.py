"""What reading a dataset costs: against a bare Pillow loop on all cores, and a second time.

    python benchmarks/dataset_scan.py [IMAGES] [ROUNDS] [SMALL_FILES]

Draws IMAGES pictures of 1024x1024 (half PNG, half JPEG; 300 by default, 10000 for the whole truth), decodes them in a
bare loop over processes, one for each core, and surveys them, in turns, so that both see the same machine. With
SMALL_FILES (100000, say) so many sprites are surveyed too, in a child whose memory is measured. Fails below the limits
this project sets itself.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.inspection import inspect
from kohya_runner.dataset.scan_cache import SETTLED, ScanCache
from kohya_runner.dataset.survey import survey
from kohya_runner.dataset.target import Wish, find_target

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 0.9  # of the bare loop's pictures a second
SECOND = 1 / 20  # of the first run's seconds
MEMORY = 300 << 20  # bytes
ROOT = Path(__file__).parents[1]


def main(images: int = 300, rounds: int = 3, small: int = 0) -> None:
    with tempfile.TemporaryDirectory() as name:
        good = speed(Path(name), images, rounds)
        good = (memory(Path(name), small) if small else True) and good
    sys.exit(0 if good else 1)


def speed(root: Path, images: int, rounds: int) -> bool:
    folder = draw(root / "pictures", images)
    source = Source(folder, "picture")
    time.sleep(SETTLED / 1e9 + 0.1)  # a file that was just written is not kept
    survey(source)  # once for the file system's own cache
    bare, first, second, whole, again = [], [], [], [], []
    for number in range(rounds):
        bare.append(timed(decode_all, folder))
        cache = root / f"cache {number}"
        first.append(timed(surveyed, source, cache))
        second.append(timed(surveyed, source, cache))
        target = find_target(Wish(folder, workspace=str(root / f"room {number}")))
        whole.append(timed(inspect, target))
        again.append(timed(inspect, target))
    rates = [images / statistics.median(times) for times in (bare, first, second)]
    print(f"bare loop    {rates[0]:9.1f} images/s   ({os.cpu_count()} processes, {images} images, {rounds} rounds)")
    print(f"first read   {rates[1]:9.1f} images/s   {rates[1] / rates[0]:7.3f} of the bare loop (limit {FIRST})")
    print(f"second read  {rates[2]:9.1f} images/s   1/{rates[2] / rates[1]:.0f} of the time (limit 1/20)")
    whole_ratio = statistics.median(bare) / statistics.median(whole)
    again_ratio = statistics.median(again) / statistics.median(whole)
    print(f"check        {images / statistics.median(whole):9.1f} images/s   {whole_ratio:7.3f} of the bare loop")
    print(f"check again  {images / statistics.median(again):9.1f} images/s   1/{1 / again_ratio:.0f} of the time")
    return whole_ratio >= FIRST and again_ratio <= SECOND


def memory(root: Path, files: int) -> bool:
    folder = root / "sprites"
    folder.mkdir()
    for number in range(files):
        data = bytes(random.Random(number).randrange(256) for _ in range(12))
        PIL.Image.frombytes("RGB", (2, 2), data).resize((24, 24), PIL.Image.Resampling.NEAREST).save(
            folder / f"{number:06d}.png"
        )
        (folder / f"{number:06d}.txt").write_text(f"pixel art, 24x24, sprite {number}", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    most = 0
    for run in ("first", "second"):
        command = (sys.executable, str(Path(__file__)), "--child", str(folder), str(root / "small room"))
        started = time.perf_counter()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        used = int(done.stdout)
        most = max(most, used)
        print(f"{files} small files, {run}: {time.perf_counter() - started:.1f} s, {used >> 20} MiB (limit 300)")
    return most < MEMORY


def child(folder: str, room: str) -> None:
    target = find_target(Wish(Path(folder), workspace=room))
    inspect(target)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def surveyed(source: Source, cache: Path) -> None:
    with ScanCache(cache) as kept:
        survey(source, kept)


def decode_all(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix != ".txt")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, files, chunksize=8):
            pass


def decode(path: Path) -> None:
    with PIL.Image.open(path) as image:
        image.load()


def draw(folder: Path, images: int) -> Path:
    """Pictures that compress about as photographs do; each of 24 is written many times under other names."""
    folder.mkdir()
    kinds = [encoded(number) for number in range(24)]
    for number in range(images):
        data, extension = kinds[number % len(kinds)]
        tail = number.to_bytes(4, "big")  # after the picture's end: no two files the same
        (folder / f"{number:06d}{extension}").write_bytes(data + tail)
        (folder / f"{number:06d}.txt").write_text(f"a picture, number {number}", encoding="utf-8")
    return folder


def encoded(number: int) -> tuple[bytes, str]:
    size = (1024, 1024)
    coarse = [PIL.Image.effect_noise((64, 64), 80 + number).resize(size) for _ in range(3)]
    fine = PIL.Image.merge("RGB", [PIL.Image.effect_noise(size, 12)] * 3)
    picture = PIL.Image.blend(PIL.Image.merge("RGB", coarse), fine, 0.2)
    buffer = BytesIO()
    if number % 2:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue(), ".png" if number % 2 else ".jpg"


def timed(what: Callable[..., object], *given: object) -> float:
    started = time.perf_counter()
    what(*given)
    return time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main(*(int(text) for text in sys.argv[1:4]))
