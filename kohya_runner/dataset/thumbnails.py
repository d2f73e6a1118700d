"""Small pictures for a page, as the trainer sees the large ones: not turned, without transparency."""

from __future__ import annotations

import base64
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING

import PIL.Image

from kohya_runner.dataset.picture import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

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


def thumbnail(path: Path) -> str:
    """One picture: small art as PNG, pixel for pixel, all else as JPEG."""
    try:
        with PIL.Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > _LARGE:
                return ""
            opened.draft("RGB", (SIDE * 2, SIDE * 2))
            plain = opened.convert("RGB")
    except Exception:  # noqa: BLE001 - a broken file makes decoders raise nearly anything
        return ""
    buffer = BytesIO()
    if max(plain.size) <= TINY:
        plain.save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    plain.thumbnail((SIDE, SIDE))
    plain.save(buffer, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
