"""The pictures of a folder, and each as the trainer should get it: upright, 8 bits, sRGB, opaque; what that took."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from itertools import chain, count
from pathlib import Path

import PIL.Image
from PIL import ImageCms, ImageColor, ImageOps

from kohya_runner.dataset.captions import images_in, stem
from kohya_runner.dataset.facts import FOCUS, Source
from kohya_runner.dataset.picture import FORMATS, LARGEST_FILE, orientation
from kohya_runner.dataset.prepare.manifest import source_stamp
from kohya_runner.findings import Finding, warning
from kohya_runner.safe_files import open_file

ENDINGS = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif",
})  # fmt: skip
"""Of the files that are taken for pictures."""
_FOCUS = re.compile(r"\s*(0?\.\d+|[01](?:\.0*)?)[\s,]+(0?\.\d+|[01](?:\.0*)?)\s*\Z", re.ASCII)
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")


class PictureError(Exception):
    """Why a file is no picture that can be used."""


def read_bytes(path: Path, refused: str = "") -> bytes:
    """The file itself, where there is no reason to refuse it.

    Raises:
        PictureError: it is empty, too large, no file, or may not be read.
    """
    if refused:
        raise PictureError(refused)
    try:
        with open_file(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as fault:
        raise PictureError(f"cannot be read: {fault.strerror or fault}") from fault
    if not 0 < len(data) <= LARGEST_FILE:
        raise PictureError("is too large for an image" if data else "is empty")
    return data


def read_plain(data: bytes, background: str) -> tuple[PIL.Image.Image, tuple[str, ...], str]:
    """An RGB picture, what was done to get it, and the format of the file.

    Raises:
        PictureError: it cannot be decoded, or needs a plugin.
    """
    heic = data[4:8] == b"ftyp" and data[8:12] in _HEIC
    formats = (*FORMATS, "HEIF") if heic and _has_heif() else FORMATS
    try:
        with PIL.Image.open(BytesIO(data), formats=[name for name in formats if name in PIL.Image.OPEN]) as opened:
            opened.load()
            picture, what = _plain(opened, background)
            if opened.format == "PNG" and data[24:25] == b"\x10" and picture.mode == opened.mode:
                what = (*what, "16 bits to 8")  # Pillow keeps the high byte
            return picture, what, opened.format or ""
    except PIL.UnidentifiedImageError:
        pass
    except PIL.Image.DecompressionBombError as fault:
        raise PictureError(f"has more pixels than Pillow can read ({fault})") from fault
    except MemoryError as fault:
        raise PictureError("does not fit into memory") from fault
    except Exception as fault:  # a broken file makes decoders raise nearly anything
        raise PictureError(f"cannot be decoded: {str(fault) or type(fault).__name__}") from fault
    if heic and "HEIF" not in PIL.Image.OPEN:
        raise PictureError(f"is HEIC, which needs a plugin: {sys.executable} -m pip install pillow-heif")
    if data[4:12] == b"ftypavif" and "AVIF" not in PIL.Image.OPEN:
        raise PictureError(f"is AVIF, which needs a newer Pillow: {sys.executable} -m pip install 'pillow>=11.3'")
    raise PictureError("is not an image in a format that is known")


def _has_heif() -> bool:
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    return "HEIF" in PIL.Image.OPEN


def _plain(opened: PIL.Image.Image, background: str) -> tuple[PIL.Image.Image, tuple[str, ...]]:
    what = []
    if opened.format != "MPO" and getattr(opened, "is_animated", False):
        what.append("first frame")
    upright = opened
    if (turned := orientation(opened)) != 1:
        upright = ImageOps.exif_transpose(opened)
        what.append(f"turned upright (EXIF {turned})")
    alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
    colours, how = _rgb(upright, opened.info.get("icc_profile"))
    what += how
    if alpha is not None and alpha.getextrema() != (255, 255):
        under = PIL.Image.new("RGB", colours.size, ImageColor.getrgb(background)[:3])
        under.paste(colours, mask=alpha)
        return under, (*what, f"laid on {background}")
    return colours, tuple(what)


def _rgb(picture: PIL.Image.Image, profile: bytes | None) -> tuple[PIL.Image.Image, list[str]]:
    """The colours alone, as sRGB."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _eight_bits(picture), ["16 bits to 8" if picture.mode != "F" else "floats to 8 bits"]
    what = [] if picture.mode in ("RGB", "RGBA") else [f"{picture.mode} to RGB"]
    if profile:
        mode = {"RGBA": "RGB", "P": "RGB", "PA": "RGB", "LA": "L", "1": "L"}.get(picture.mode, picture.mode)
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):  # strangers' profiles are often broken
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            if "srgb" in (ImageCms.getProfileDescription(source) or "").lower():
                return picture.convert("RGB"), what
            srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            made = ImageCms.profileToProfile(picture.convert(mode), source, srgb, outputMode="RGB")
            if made is not None:
                return made, [*what, "profile to sRGB"]
        what.append("its colour profile cannot be used")
    return picture if picture.mode == "RGB" else picture.convert("RGB"), what


def _eight_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """16 bits by their high byte; numbers of another range by their largest."""
    top = picture.getextrema()[1]
    largest = float(top) if isinstance(top, (int, float)) else 0.0
    sixteen = picture.mode.startswith("I") and largest > 255
    most = 65535.0 if sixteen and largest <= 65535 else max(largest, 1.0) if picture.mode == "F" or sixteen else 255.0
    factor = 255.0 / most
    grey = picture.convert("I") if picture.mode != "F" else picture
    few = grey.convert("F").point(lambda value: value * factor).convert("L")
    return PIL.Image.merge("RGB", (few, few, few))


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
    """The pictures of a folder in the order of their names, each with a name of its own; "" keeps their endings."""
    found = sorted(entry.name for entry in os.scandir(source) if not entry.name.startswith(".") and entry.is_file())
    ending = {name: os.path.splitext(name)[1].lower() for name in found}  # noqa: PTH122
    beside: dict[str, list[str]] = {}
    for name in found:
        if ending[name] not in ENDINGS and ending[name] != ".npz":  # latents of the picture as it was
            beside.setdefault(stem(name), []).append(name)
    taken: set[str] = set()
    raws = []
    for name in (name for name in found if ending[name] in ENDINGS):
        base = stem(name)
        tries = chain((base, f"{base}_{ending[name][1:]}"), (f"{base}_{number}" for number in count(2)))
        chosen = next(one for one in tries if one.casefold() not in taken)
        taken.add(chosen.casefold())
        raws.append(Raw(source / name, chosen + (suffix or ending[name]), tuple(beside.get(base, ()))))
    below = [entry.name for entry in os.scandir(source) if entry.is_dir() and images_in(source / entry.name)]
    told = f"images in folders below are not prepared: {', '.join(sorted(below))}"
    return tuple(raws), (warning("dataset.subfolders", told, where=str(source)),) if below else ()


def read_focus(path: Path) -> tuple[float, float] | None:
    """What a crop keeps: ``0.5 0.25``, as shares of width and height from the upper left; None: it says something else.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    found = _FOCUS.match(path.read_text(encoding="utf-8", errors="replace")[:100])
    return (float(found[1]), float(found[2])) if found else None
