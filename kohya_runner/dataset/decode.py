"""One image file, read once: its hash, and whether Pillow can decode all of it."""

from __future__ import annotations

import hashlib
import stat
import threading
from contextlib import nullcontext, suppress
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING

import PIL.Image

from kohya_runner.dataset.facts import Image
from kohya_runner.text import size

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

for _plugin in ("Png", "Jpeg", "WebP", "Bmp", "Gif", "Tiff", "Avif"):
    with suppress(ImportError):  # AVIF came with Pillow 11.3
        import_module(f"PIL.{_plugin}ImagePlugin")

FORMATS = tuple(n for n in ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF") if n in PIL.Image.OPEN)
"""All that a stranger's file is tried as: nothing that runs another program, as Pillow's EPS reader does."""

LARGE_FILE = 64 << 20  # bytes
LARGE_IMAGE = 24 << 20  # pixels
LARGEST_FILE = 2 << 30  # bytes; more than Pillow's limit of pixels can need

_one_at_a_time = threading.Lock()


def read_image(path: Path) -> Image:
    """The facts of one file; what stands against it is its ``problem``. Large ones are decoded one at a time."""
    try:
        status = path.stat()
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


def _decoded(path: Path, data: bytes) -> Image:
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        return _broken(path, 0, digest, "is empty")
    try:
        with PIL.Image.open(BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            with _turn(large=width * height > LARGE_IMAGE and len(data) <= LARGE_FILE):
                image.load()
            return Image(path, width, height, len(data), digest, format=image.format or "")
    except PIL.Image.DecompressionBombError as error:
        return _broken(path, len(data), digest, f"has more pixels than Pillow, which the trainer uses, reads ({error})")
    except PIL.UnidentifiedImageError:
        return _broken(path, len(data), digest, "is no image of a format the trainer reads")
    except MemoryError:
        return _broken(path, len(data), digest, "does not fit into memory")
    except Exception as error:  # noqa: BLE001 - a broken file makes decoders raise nearly anything
        return _broken(path, len(data), digest, f"cannot be decoded: {str(error) or type(error).__name__}")


def _turn(*, large: bool) -> AbstractContextManager[object]:
    return _one_at_a_time if large else nullcontext()


def _broken(path: Path, size: int, digest: str, problem: str) -> Image:
    return Image(path, 0, 0, size, digest, problem=problem)
