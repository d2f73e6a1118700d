"""What reading a dataset costs: against a bare Pillow loop on all cores, a second time, and in memory.

    python benchmarks/dataset_scan.py [IMAGES] [PIECES] [SMALL_FILES]

Draws IMAGES pictures of 1024x1024 (half PNG, half JPEG; 400 by default, 10000 for the whole truth; 1.1 MB each on
average): up to 200 are different, the others are their copies with another text chunk. They are decoded in a bare loop
over processes, one for each core, and looked at as ``dataset check`` does it, in turns, piece by piece, so that both
see the same machine whoever else works on it. Then the command itself runs twice over all of them. With SMALL_FILES
(100000, say) so many sprites are checked too, in a child whose memory is measured. Fails below the limits this project
sets itself.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import PIL.Image

from kohya_runner.plan.inspection import inspect
from kohya_runner.plan.inspection_target import InspectionRequest, find_target
from kohya_runner.safe_files import SETTLED

FIRST = 0.9  # of the bare loop's pictures a second
SECOND = 1 / 20  # of the first run's seconds
MEMORY = 300 << 20  # bytes
DISTINCT = 200
ROOT = Path(__file__).parents[1]


def main(images: int = 400, pieces: int = 4, small: int = 0) -> None:
    with tempfile.TemporaryDirectory() as name:
        good = speed(Path(name), images, pieces)
        good = command(Path(name), images) and good
        good = (memory(Path(name), small) if small else True) and good
    sys.exit(0 if good else 1)


def speed(root: Path, images: int, pieces: int) -> bool:
    """Bare loop and check in turns over the same pieces; the order changes from piece to piece."""
    folders = parted(draw(root / "pictures", images), root, pieces)
    time.sleep(SETTLED / 1e9 + 0.1)  # a file that was just written is not kept
    bare: list[float] = []
    first: list[float] = []
    again: list[float] = []
    for number, folder in enumerate(folders):
        sides = [(bare, decode_all), (first, checker(root / "room"))]
        for times, action in sides if number % 2 else reversed(sides):
            times.append(timed(action, folder))
        again.append(timed(checker(root / "room"), folder))
    second = sum(again) / sum(first)
    parts = sorted(b / f for b, f in zip(bare, first, strict=True))
    ratio = statistics.median(parts)  # a piece during which somebody else works counts no more than another
    print(f"bare loop    {images / sum(bare):9.1f} images/s   ({os.cpu_count()} processes, {images} images)")
    spread = f"by piece {parts[0]:.3f} to {parts[-1]:.3f}, the whole {sum(bare) / sum(first):.3f}"
    print(f"first check  {images / sum(first):9.1f} images/s   {ratio:.3f} of the bare loop (limit {FIRST}; {spread})")
    print(f"second check {images / sum(again):9.1f} images/s   1/{1 / second:.0f} of the time (limit 1/20)")
    return ratio >= FIRST and second <= SECOND


def command(root: Path, images: int) -> bool:
    """The command as people give it, start-up included, twice."""
    room = str(root / "room of the command")
    argv = (sys.executable, "-m", "kohya_runner", "dataset", "check", str(root / "pictures"), "--workspace", room)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [timed(subprocess.run, argv, env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
    print(
        f"the command  {images / runs[0]:9.1f} images/s   then {runs[1]:.2f} s, 1/{runs[0] / runs[1]:.0f} of the time"
    )
    return runs[1] / runs[0] <= SECOND or images < 5_000  # the start alone is 0.3 s


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
        argv = (sys.executable, str(Path(__file__)), "--child", str(folder), str(root / "small room"))
        started = time.perf_counter()
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        used = int(done.stdout)
        most = max(most, used)
        print(f"{files} small files, {run}: {time.perf_counter() - started:.1f} s, {used >> 20} MiB (limit 300)")
    return most < MEMORY


def child(folder: str, room: str) -> None:
    target = find_target(InspectionRequest(Path(folder), workspace=room))
    inspect(target)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def checker(room: Path) -> Callable[[Path], object]:
    return lambda folder: inspect(find_target(InspectionRequest(folder, workspace=str(room))))


def decode_all(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix != ".txt")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, files, chunksize=8):
            pass


def decode(path: Path) -> None:
    with PIL.Image.open(path) as image:
        image.load()


def parted(folder: Path, root: Path, pieces: int) -> list[Path]:
    """The same files in folders of a part each, as hard links."""
    parts = [root / f"piece {number}" for number in range(pieces)]
    for part in parts:
        part.mkdir()
    for file in folder.iterdir():
        os.link(file, parts[int(file.stem) // 2 % pieces] / file.name)
    return parts


def draw(folder: Path, images: int) -> Path:
    """Pictures that compress about as photographs do."""
    folder.mkdir()
    kinds = [encoded(number) for number in range(min(DISTINCT, images))]
    for number in range(images):
        data, extension = kinds[number % len(kinds)]
        comment = f"copy {number}".encode()
        (folder / f"{number:06d}{extension}").write_bytes(COMMENTED[extension](data, comment))
        (folder / f"{number:06d}.txt").write_text(f"a picture, number {number}", encoding="utf-8")
    return folder


def in_png(data: bytes, comment: bytes) -> bytes:
    """With a text chunk after the header chunk: 8 + 25 bytes."""
    body = b"tEXtComment\0" + comment
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def in_jpeg(data: bytes, comment: bytes) -> bytes:
    """With a comment after the start mark."""
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]


COMMENTED = {".png": in_png, ".jpg": in_jpeg}


def encoded(number: int) -> tuple[bytes, str]:
    size = (1024, 1024)
    coarse = [PIL.Image.effect_noise((64, 64), 80 + number % 40).resize(size) for _ in range(3)]
    fine = PIL.Image.merge("RGB", [PIL.Image.effect_noise(size, 12)] * 3)
    picture = PIL.Image.blend(PIL.Image.merge("RGB", coarse), fine, 0.2)
    buffer = BytesIO()
    if number % 2:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue(), ".png" if number % 2 else ".jpg"


def timed(what: Callable[..., object], *given: object, **options: object) -> float:
    started = time.perf_counter()
    what(*given, **options)
    return time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main(*(int(text) for text in sys.argv[1:4]))
