"""Picture files of many kinds, good, odd and broken."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import PIL.Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str = "RGB", size: tuple[int, int] = (48, 32), colour: Any = 100) -> PIL.Image.Image:
    return PIL.Image.new(mode, size, colour)


def turned(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def _grey16(value: int) -> bytes:
    return saved(plain("I;16", colour=value), "PNG")


def _rgb16() -> bytes:
    """A PNG with 16 bits in each of three channels."""
    rows = b"".join(b"\0" + struct.pack(">HHH", 40000, 20000, 1000) * 48 for _ in range(32))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def _frames(kind: str) -> bytes:
    others = [plain(colour=(0, 0, 200)), plain(colour=(0, 200, 0))]
    return saved(plain(colour=(200, 0, 0)), kind, save_all=True, append_images=others, duration=100)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _noise(kind: str, **options: Any) -> bytes:
    return saved(PIL.Image.effect_noise((64, 64), 90).convert("RGB"), kind, **options)


GIT_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"

PICTURES: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: saved(plain(), "PNG"),
    "rgb.jpg": lambda: saved(plain(), "JPEG"),
    "progressive.jpg": lambda: _noise("JPEG", progressive=True),
    "rgb.webp": lambda: saved(plain(), "WEBP"),
    "lossless.webp": lambda: saved(plain(), "WEBP", lossless=True),
    "rgb.bmp": lambda: saved(plain(), "BMP"),
    "upper.PNG": lambda: saved(plain(), "PNG"),
    "grey.png": lambda: saved(plain("L"), "PNG"),
    "grey.jpg": lambda: saved(plain("L"), "JPEG"),
    "grey and alpha.png": lambda: saved(plain("LA", colour=(100, 0)), "PNG"),
    "black and white.png": lambda: saved(plain("1", colour=1), "PNG"),
    "palette.png": lambda: saved(plain().quantize(4), "PNG"),
    "palette with a clear colour.png": lambda: saved(plain().quantize(4), "PNG", transparency=0),
    "clear.png": lambda: saved(plain("RGBA", colour=(200, 100, 50, 0)), "PNG"),
    "opaque alpha.png": lambda: saved(plain("RGBA", colour=(200, 100, 50, 255)), "PNG"),
    "clear.webp": lambda: saved(plain("RGBA", colour=(200, 100, 50, 128)), "WEBP", lossless=True, exact=True),
    "clear colour.png": lambda: saved(plain(colour=(1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    "grey 16 bits.png": lambda: _grey16(30000),
    "grey 16 bits, dark.png": lambda: _grey16(200),
    "rgb 16 bits.png": _rgb16,
    "cmyk.jpg": lambda: saved(plain("CMYK", colour=(10, 20, 30, 40)), "JPEG"),
    "turned 6.jpg": lambda: saved(plain(), "JPEG", exif=turned(6)),
    "turned 3.jpg": lambda: saved(plain(), "JPEG", exif=turned(3)),
    "turned 8.png": lambda: saved(plain(), "PNG", exif=turned(8)),
    "turned 6.webp": lambda: saved(plain(), "WEBP", exif=turned(6)),
    "moving.webp": lambda: _frames("WEBP"),
    "moving.png": lambda: _frames("PNG"),
    "gif named.png": lambda: saved(plain().quantize(4), "GIF"),
    "moving gif named.jpg": lambda: _frames("GIF"),
    "jpeg named.png": lambda: saved(plain(), "JPEG"),
    "png named.jpg": lambda: saved(plain(), "PNG"),
    "tiff named.png": lambda: saved(plain(), "TIFF"),
    "tiff with numbers.png": lambda: saved(plain("F", colour=1000.0), "TIFF"),
    "one pixel.png": lambda: saved(plain(size=(1, 1)), "PNG"),
    "a line.png": lambda: saved(plain(size=(900, 1)), "PNG"),
    "empty.png": lambda: b"",
    "half.png": lambda: _half(_noise("PNG")),
    "half.jpg": lambda: _half(_noise("JPEG")),
    "half.webp": lambda: _half(_noise("WEBP", lossless=True)),
    "header only.png": lambda: saved(plain(), "PNG")[:33],
    "text named.png": lambda: b"a picture of a cat",
    "page named.jpg": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "lfs pointer.png": lambda: GIT_LFS,
    "zeros.jpg": lambda: bytes(5000),
    "svg named.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "bytes after the end.jpg": lambda: saved(plain(), "JPEG") + b"trailing" * 100,
}


def write_all(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True)
    for name, made in PICTURES.items():
        (folder / name).write_bytes(made())
    return {name: folder / name for name in PICTURES}
