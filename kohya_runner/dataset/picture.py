"""One image file, decoded once: its facts, and what of its pixels the trainer will drop, clip or overlook."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from io import BytesIO
from pathlib import Path

import PIL.Image

from kohya_runner.dataset.facts import Image
from kohya_runner.text import size

SIDE = 192  # pixels
TINY = 96  # pixels: up to here the page gets every pixel, and the browser enlarges them
THREADS = 3
_LARGE = 60_000_000  # pixels: not worth the wait for a small picture


def thumbnails(paths: Sequence[Path], on_done: Callable[[int, int], None] | None = None) -> Iterator[str]:
    """A ``data:`` address for each picture, "" for one that cannot be drawn."""
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for done, address in enumerate(pool.map(thumbnail, paths), start=1):
            yield address
            if on_done is not None:
                on_done(done, len(paths))


def thumbnail(path: Path, *, side: int = SIDE, tiny: int = TINY, quality: int = 72) -> str:
    """One picture: small art as PNG, pixel for pixel, all else as JPEG."""
    try:
        with PIL.Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > _LARGE:
                return ""
            opened.draft("RGB", (side * 2, side * 2))
            plain = opened.convert("RGB")
    except Exception:  # noqa: BLE001 - a broken file makes decoders raise nearly anything
        return ""
    buffer = BytesIO()
    if max(plain.size) <= tiny:
        plain.save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    plain.thumbnail((side, side))
    plain.save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


for _plugin in ("Png", "Jpeg", "WebP", "Bmp", "Gif", "Tiff", "Avif"):
    with suppress(ImportError):  # AVIF came with Pillow 11.3
        import_module(f"PIL.{_plugin}ImagePlugin")

FORMATS = tuple(n for n in ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF") if n in PIL.Image.OPEN)
"""All that a stranger's file is tried as: nothing that runs another program, as Pillow's EPS reader does."""

LARGE_FILE = 64 << 20  # bytes
LARGE_IMAGE = 24 << 20  # pixels
LARGEST_FILE = 2 << 30  # bytes; more than Pillow's limit of pixels can need

EXTENDED_WEBP = b"WEBPVP8X"  # with EXIF, profile, alpha or animation: imagesize 1.4.1 forgets to add 1 to its sides
ORIENTATION = 0x0112  # the EXIF tag
SIGNATURE_SIDE = 8
SAMPLED_SIDE = 96  # pixels a side that a signature looks at, of a larger picture
_CLIPPED_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Traits:
    """What is special about the content of a picture that can be read."""

    mode: str = "RGB"  # Pillow's name for the kind of pixels
    animated: bool = False
    orientation: int = 1  # EXIF; 1 is upright
    transparent: int = 0  # pixels that are not fully opaque
    clipped: bool = False  # has values over 255, which become white
    signature: bytes = b""  # 8x8 RGB, for near duplicates
    short: bool = False  # imagesize, which the trainer sorts into buckets by, says one pixel less of both sides


@dataclass(frozen=True, slots=True)
class Picture:
    """The facts of a file, and its traits where it could be decoded."""

    image: Image
    traits: Traits | None = None


def read_picture(path: Path) -> Picture:
    """The facts and traits of one file, or its ``problem``. Large ones are decoded one at a time."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a quarter of the time of Path.stat, a hundred thousand times
    except OSError as error:
        return _broken(path, 0, "", f"cannot be read: {error.strerror or error}")
    if not stat.S_ISREG(status.st_mode):
        return _broken(path, 0, "", "is not a regular file")
    if status.st_size > LARGEST_FILE:
        return _broken(path, status.st_size, "", f"is too large for an image ({size(status.st_size)})")
    with _turn(large=status.st_size > LARGE_FILE):
        try:
            data = path.read_bytes()
        except OSError as error:
            return _broken(path, status.st_size, "", f"cannot be read: {error.strerror or error}")
        return _decoded(path, data)


def _decoded(path: Path, data: bytes) -> Picture:
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        return _broken(path, 0, digest, "is empty")
    try:
        with PIL.Image.open(BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            with _turn(large=width * height > LARGE_IMAGE and len(data) <= LARGE_FILE):
                opened.load()
                traits = replace(_traits(opened), short=data[8:16] == EXTENDED_WEBP)
            return Picture(Image(path, width, height, len(data), digest, format=opened.format or ""), traits)
    except PIL.Image.DecompressionBombError as error:
        text = f"has more pixels than Pillow, which the trainer uses, can read ({error})"
        return _broken(path, len(data), digest, text)
    except PIL.UnidentifiedImageError:
        return _broken(path, len(data), digest, "is not an image in a format the trainer reads")
    except MemoryError:
        return _broken(path, len(data), digest, "does not fit into memory")
    except Exception as error:  # noqa: BLE001 - a broken file makes decoders raise nearly anything
        return _broken(path, len(data), digest, f"cannot be decoded: {str(error) or type(error).__name__}")


def _traits(opened: PIL.Image.Image) -> Traits:
    """Of a picture that is loaded. The metadata of strangers' files may be broken where the pixels are not."""
    return Traits(
        mode=opened.mode,
        animated=opened.format != "MPO" and bool(getattr(opened, "is_animated", False)),
        orientation=orientation(opened),
        transparent=_transparent(opened),
        clipped=opened.mode in _CLIPPED_MODES and _brightest(opened) > 255,
        signature=signature(opened),
    )


def orientation(opened: PIL.Image.Image) -> int:
    """How a picture must be turned, as EXIF says it; 1 is upright."""
    try:
        value = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken EXIF blocks raise nearly anything, and the trainer reads none
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _transparent(opened: PIL.Image.Image) -> int:
    if not opened.has_transparency_data:
        return 0
    alpha = (opened if opened.mode in ("RGBA", "LA") else opened.convert("RGBA")).getchannel("A")
    if alpha.getextrema() == (255, 255):
        return 0
    return opened.width * opened.height - alpha.histogram()[255]


def _brightest(opened: PIL.Image.Image) -> float:
    highest = opened.getextrema()[1]
    return highest if isinstance(highest, (int, float)) else 0


def signature(opened: PIL.Image.Image) -> bytes:
    """8x8 means of colour, as the trainer sees the picture: upright or not, without alpha. b"" where that fails."""
    try:
        side = (SAMPLED_SIDE, SAMPLED_SIDE)
        few = opened.resize(side, PIL.Image.Resampling.NEAREST) if min(opened.size) > SAMPLED_SIDE else opened
        plain = few if few.mode == "RGB" else few.convert("RGB")
        return plain.resize((SIGNATURE_SIDE, SIGNATURE_SIDE), PIL.Image.Resampling.BOX).tobytes()
    except (ValueError, OSError):
        return b""


def _turn(*, large: bool) -> AbstractContextManager[object]:
    return _one_at_a_time if large else nullcontext()


def _broken(path: Path, size: int, digest: str, problem: str) -> Picture:
    return Picture(Image(path, 0, 0, size, digest, problem=problem))
