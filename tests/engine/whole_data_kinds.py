"""Kinds of broken and odd datasets: what lies in the folders, and what the person who made them means by it.

A kind fails or is silently wrong where the trainer does not train exactly what is meant: these pictures, with these
prompts, this often, upright, whole and in their own colours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import PIL.Image
from odd_pictures import GIT_LFS, plain, saved, turned

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE = 64
TINY: dict[str, Any] = {"resolution": "192", "min_bucket_reso": 64, "enable_bucket": True, "cache_latents": True}
PLAIN: dict[str, Any] = {"resolution": "64", "min_bucket_reso": 64, "max_bucket_reso": 512, "enable_bucket": True,
                         "cache_latents": True}  # fmt: skip
WIDE: dict[str, Any] = {**PLAIN, "resolution": "128"}
NO_BUCKETS: dict[str, Any] = {"resolution": "64"}


@dataclass(frozen=True)
class Meant:
    """What is meant with one picture."""

    caption: str
    size: tuple[int, int] = (SIDE, SIDE)
    pixel: tuple[int, int, int] | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Entry:
    """One folder: ``files`` by name; a name that ends in / is a folder, a value of text a link to that path."""

    files: Mapping[str, bytes | str]
    concept: str = "cat"
    repeats: int = 1
    regularization: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """Folders and what is meant by them, by file name."""

    entries: tuple[Entry, ...]
    meant: Mapping[str, Meant]
    options: Mapping[str, Any] = field(default_factory=lambda: PLAIN)
    keeps_colours: bool = False  # no colour may be trained that the picture does not hold


def picture(number: int = 0, size: tuple[int, int] = (SIDE, SIDE), kind: str = "PNG", **options: Any) -> bytes:
    """Two halves of colour, another for each number: none looks like another."""
    image = PIL.Image.new("RGB", size, (37 * number % 256, 90, 200 - 41 * number % 200))
    image.paste((200 - 53 * number % 200, 17 * number % 256, 30), (size[0] // 2, 0, *size))
    return saved(image, kind, **options)


def colour(number: int) -> tuple[int, int, int]:
    return (37 * number % 256, 90, 200 - 41 * number % 200)


def pairs(*names: str, caption: str = "a cat, {}", first: int = 0) -> dict[str, bytes | str]:
    """Pictures with a caption each, of the given stems."""
    made: dict[str, bytes | str] = {}
    for number, name in enumerate(names, start=first):
        made[f"{name}.png"] = picture(number)
        made[f"{name}.txt"] = caption.format(name).encode()
    return made


def good(*names: str, caption: str = "a cat, {}", first: int = 0) -> dict[str, Meant]:
    return {f"{n}.png": Meant(caption.format(n), pixel=colour(i)) for i, n in enumerate(names, start=first)}


def kind(files: Mapping[str, bytes | str], meant: Mapping[str, Meant], **more: Any) -> Kind:
    entry = {name: more.pop(name) for name in ("concept", "repeats", "more") if name in more}
    return Kind((Entry(files, **entry),), meant, **more)


def with_caption(data: bytes, meant: str, **more: Any) -> Kind:
    return kind(
        {**pairs("a", "b"), "c.png": picture(2), "c.txt": data}, {**good("a", "b"), "c.png": Meant(meant)}, **more
    )


def with_picture(name: str, data: bytes | str, meant: Meant | None, **more: Any) -> Kind:
    """Two good ones and this one; ``meant`` None: it cannot be trained, and it should have been."""
    stem = name.rpartition(".")[0]
    files = {**pairs("a", "b"), name: data, f"{stem}.txt": b"a cat, odd"}
    return kind(files, {**good("a", "b"), name: meant or Meant("a cat, odd")}, **more)


def odd(size: tuple[int, int] = (SIDE, SIDE), pixel: tuple[int, int, int] | None = None) -> Meant:
    return Meant("a cat, odd", size, pixel)


def rgba(hidden: tuple[int, int, int], alpha: int) -> bytes:
    return saved(plain("RGBA", (SIDE, SIDE), (*hidden, alpha)), "PNG")


def grey16(value: int) -> bytes:
    return saved(plain("I;16", (SIDE, SIDE), value), "PNG")


def frames() -> bytes:
    images = [PIL.Image.new("RGB", (SIDE, SIDE), c) for c in ((200, 0, 0), (0, 200, 0))]
    return saved(images[0], "WEBP", save_all=True, append_images=images[1:], duration=100, lossless=True)


def sprites(side: int, options: Mapping[str, Any]) -> Kind:
    files = {name: picture(n, (side, side)) if name.endswith("png") else b"a cat" for n, name in
             enumerate(("a.png", "b.png", "a.txt", "b.txt"))}  # fmt: skip
    return kind(
        files, {n: Meant("a cat", (side, side)) for n in ("a.png", "b.png")}, options=options, keeps_colours=True
    )


HALF = picture(7)[: len(picture(7)) // 2]
HALF_JPEG = saved(PIL.Image.effect_noise((SIDE, SIDE), 90).convert("RGB"), "JPEG")[:1200]
LONG = "ä" * 120
A_B = {**pairs("a", "b")}

KINDS: dict[str, Kind] = {
    "all good": kind(A_B, good("a", "b")),
    "repeats": kind(A_B, {n: Meant(m.caption, repeats=3) for n, m in good("a", "b").items()}, repeats=3),
    "three sizes": kind(
        {
            "a.png": picture(1, (128, 128)),
            "a.txt": b"a cat",
            "c.png": picture(2, (256, 64)),
            "c.txt": b"a cat, c",
            "d.png": picture(3, (64, 256)),
            "d.txt": b"a cat, d",
        },
        {
            "a.png": Meant("a cat", (128, 128)),
            "c.png": Meant("a cat, c", (256, 64)),
            "d.png": Meant("a cat, d", (64, 256)),
        },
        options=WIDE,
    ),
    # captions
    "a caption is missing": kind({**A_B, "c.png": picture(2)}, {**good("a", "b"), "c.png": Meant("a cat, c")}),
    "a caption without a byte": with_caption(b"", "a cat, c"),
    "a blank first line": with_caption(b"\na cat, c\n", "a cat, c"),
    "a byte order mark": with_caption(b"\xef\xbb\xbfa cat, c", "a cat, c"),
    "latin-1": with_caption("a cät".encode("latin-1"), "a cät"),
    "utf-16": with_caption("a cat".encode("utf-16"), "a cat"),
    "two lines that belong together": with_caption(b"a cat,\nsitting", "a cat, sitting"),
    "old mac line ends": with_caption(b"a cat,\rsitting", "a cat, sitting"),
    "windows line ends": with_caption(b"a cat, c\r\n", "a cat, c"),
    "blanks around": with_caption(b"  a cat, c \n\n", "a cat, c"),
    "unicode": with_caption("a cat, cät 猫 🐱".encode(), "a cat, cät 猫 🐱"),
    "braces without enable_wildcard": with_caption(b"a {red|blue} cat", "a red cat"),
    "lines with enable_wildcard": with_caption(b"a cat, c\n", "a cat, c", options={**PLAIN, "enable_wildcard": True}),
    "several lines with enable_wildcard": with_caption(
        b"a cat, c\na cat, c\n", "a cat, c", options={**PLAIN, "enable_wildcard": True}
    ),
    "a blank first line with enable_wildcard": with_caption(
        b"\na cat, c\n", "a cat, c", options={**PLAIN, "enable_wildcard": True}
    ),
    "captions of another extension": kind(
        {"a.png": picture(0), "a.caption": b"a cat, a", "b.png": picture(1), "b.caption": b"a cat, b"}, good("a", "b")
    ),
    "captions of the extension asked for": kind(
        {"a.png": picture(0), "a.caption": b"a cat, a", "b.png": picture(1), "b.caption": b"a cat, b"},
        good("a", "b"),
        options={**PLAIN, "caption_extension": ".caption"},
    ),
    "captions in upper case": kind(
        {**A_B, "c.png": picture(2), "c.TXT": b"a cat, c"}, {**good("a", "b"), "c.png": Meant("a cat, c")}
    ),
    "a caption that is a folder": kind(
        {**A_B, "c.png": picture(2), "c.txt/": b""}, {**good("a", "b"), "c.png": Meant("a cat, c")}
    ),
    "a caption that is a dead link": kind(
        {**A_B, "c.png": picture(2), "c.txt": "/nowhere/c.txt"}, {**good("a", "b"), "c.png": Meant("a cat, c")}
    ),
    "a caption without its picture": kind(
        {**A_B, "c.txt": b"a cat, c"}, {**good("a", "b"), "c.png": Meant("a cat, c")}
    ),
    "a misspelt trigger word": kind(
        {**pairs("a", "b", "d", caption="a bespoke cat, {}"), "c.png": picture(5), "c.txt": b"a bespoek cat, c"},
        {**good("a", "b", "d", caption="a bespoke cat, {}"), "c.png": Meant("a bespoke cat, c")},
        concept="bespoke cat",
    ),
    "the name of a face detector": kind(
        {**pairs("a"), "a_10_20_30_40.png": picture(3)},
        {**good("a"), "a_10_20_30_40.png": Meant("another cat")},
    ),
    # names
    "an extension in mixed case": kind(
        {**A_B, "c.Png": picture(2), "c.txt": b"a cat, c"}, {**good("a", "b"), "c.Png": Meant("a cat, c")}
    ),
    "an extension in upper case": kind(
        {**A_B, "c.PNG": picture(2), "c.txt": b"a cat, c"}, {**good("a", "b"), "c.PNG": Meant("a cat, c")}
    ),
    "two pictures of one name": kind(
        {**A_B, "a.jpg": picture(5, kind="JPEG")}, {**good("a", "b"), "a.jpg": Meant("another cat")}
    ),
    "a name that begins like a cached neighbour's": kind(
        {
            "cat.png": picture(0, (128, 128)),
            "cat.txt": b"cat 1",
            "cat2.png": picture(1, (256, 64)),
            "cat2.txt": b"cat 2",
            "cat2_0256x0064_sd.npz": b"PK\x05\x06" + bytes(18),
        },
        {"cat.png": Meant("cat 1", (128, 128)), "cat2.png": Meant("cat 2", (256, 64))},
        options={**WIDE, "cache_latents_to_disk": True},
    ),
    "blanks, quotes and brackets": kind(pairs("it's 'a' [1]", 'b "2" (x)'), good("it's 'a' [1]", 'b "2" (x)')),
    "stars, commas and equals signs": kind(pairs("*a?", "b,c=d"), good("*a?", "b,c=d")),
    "unicode names": kind(pairs("猫 🐱", "ünï"), good("猫 🐱", "ünï")),
    "a line break in a name": kind(pairs("a\nb", "c", caption="a cat"), good("a\nb", "c", caption="a cat")),
    "a very long name": kind(pairs(LONG, "b"), good(LONG, "b")),
    # files that are no picture
    "an empty file": with_picture("c.png", b"", None),
    "half a PNG": with_picture("c.png", HALF, None),
    "half a JPEG": with_picture("c.jpg", HALF_JPEG, None),
    "a text file": with_picture("c.png", b"a picture of a cat", None),
    "a web page": with_picture("c.jpg", b"<!DOCTYPE html><html><body>404</body></html>", None),
    "a Git LFS pointer": with_picture("c.png", GIT_LFS, None),
    "a dead link": with_picture("c.png", "/nowhere/c.png", None),
    "zeros": with_picture("c.jpg", bytes(4000), None),
    "a GIF": with_picture("c.gif", picture(2, kind="GIF"), None),
    "a GIF without a caption": kind(
        {**A_B, "c.gif": picture(2, kind="GIF")}, {**good("a", "b"), "c.gif": Meant("cat")}
    ),
    "a TIFF without a caption": kind(
        {**A_B, "c.tif": picture(2, kind="TIFF")}, {**good("a", "b"), "c.tif": Meant("cat")}
    ),
    "a JPEG named .jfif": kind({**A_B, "c.jfif": picture(2, kind="JPEG")}, {**good("a", "b"), "c.jfif": Meant("cat")}),
    "files of a file manager": kind({**A_B, ".DS_Store": b"x", "Thumbs.db": b"x", "._a.png": b"x"}, good("a", "b")),
    "a folder named like a picture": kind({**A_B, "c.png/": b""}, good("a", "b")),
    # what a picture holds
    "a JPEG named .png": with_picture("c.png", picture(2, kind="JPEG"), odd()),
    "bytes after the end": with_picture("c.jpg", picture(2, kind="JPEG") + b"more" * 50, odd()),
    "a link to a picture": with_picture("c.png", "../elsewhere.png", odd()),
    "EXIF rotation": with_picture(
        "c.jpg", picture(2, kind="JPEG", quality=95, exif=turned(3)), odd(pixel=(94, 34, 30))
    ),
    "EXIF upright": with_picture("c.jpg", picture(2, kind="JPEG", exif=turned(1)), odd()),
    "transparent over black": with_picture("c.png", rgba((0, 0, 0), 0), odd(pixel=(255, 255, 255))),
    "half transparent": with_picture("c.png", rgba((10, 20, 30), 128), odd(pixel=(132, 137, 142))),
    "an alpha channel that is full": with_picture("c.png", rgba((9, 8, 7), 255), odd(pixel=(9, 8, 7))),
    "a clear colour": with_picture(
        "c.png", saved(plain("RGB", (SIDE, SIDE), (1, 2, 3)), "PNG", transparency=(1, 2, 3)), odd(pixel=(255, 255, 255))
    ),
    "grey": with_picture("c.png", saved(plain("L", (SIDE, SIDE), 99), "PNG"), odd(pixel=(99, 99, 99))),
    "16 bits of grey": with_picture("c.png", grey16(30000), odd(pixel=(117, 117, 117))),
    "16 bits of dark grey": with_picture("c.png", grey16(250), odd(pixel=(1, 1, 1))),
    "a moving WebP": kind(
        {**A_B, "c.webp": frames(), "c.txt": b"c"},
        {**good("a", "b"), "c.webp": Meant("c"), "the second frame": Meant("c")},
    ),
    "a panorama": with_picture("c.png", picture(2, (3000, 30)), odd((3000, 30))),
    "sprites under Lanczos": sprites(24, TINY),
    "sprites, nearest": sprites(24, {**TINY, "resize_interpolation": "nearest"}),
    # how often
    "the same file twice": kind({**A_B, "copy.png": picture(0), "copy.txt": b"a cat, a"}, good("a", "b")),
    "the same picture saved twice": kind(
        {**A_B, "copy.jpg": picture(0, kind="JPEG", quality=95), "copy.txt": b"a cat, a"}, good("a", "b")
    ),
    "fewer than expected": kind(A_B, {**good("a", "b"), "c.png": Meant("c")}, more={"expect": 3}),
    "as many as expected": kind(A_B, good("a", "b"), more={"expect": 2}),
    "one folder in two entries": Kind((Entry(A_B), Entry({}, concept="dog", more={"same": True})), good("a", "b")),
    "two folders of one concept": Kind(
        (Entry(A_B), Entry(pairs("c", "d", first=2))), {**good("a", "b"), **good("c", "d", first=2)}
    ),
    "class images without captions": Kind(
        (Entry(A_B), Entry({"r.png": picture(8), "s.png": picture(9)}, concept="animal", regularization=True)),
        {**good("a", "b"), "r.png": Meant("animal"), "s.png": Meant("animal")},
    ),
    "more class images than can be used": Kind(
        (Entry(A_B), Entry({f"r{n}.png": picture(n + 8) for n in range(4)}, concept="animal", regularization=True)),
        {**good("a", "b"), **{f"r{n}.png": Meant("animal") for n in range(4)}},
    ),
    "nothing but class images": Kind((Entry(A_B, regularization=True),), good("a", "b")),
    # folders
    "an empty folder": kind({}, {"a.png": Meant("a cat")}),
    "no folder": kind({}, {"a.png": Meant("a cat")}, more={"missing": True}),
    "folders in the folder": kind({"one/a.png": picture(0), "one/a.txt": b"a"}, {"a.png": Meant("a")}),
    "folders beside pictures": kind(
        {**A_B, "more/c.png": picture(2), "more/c.txt": b"c"}, {**good("a", "b"), "c.png": Meant("c")}
    ),
    "what a Mac leaves in archives": kind({**A_B, "__MACOSX/._a.png": b"x"}, good("a", "b")),
    # sizes and options
    "one size, no buckets": kind(A_B, good("a", "b"), options=NO_BUCKETS),
    "another size, no buckets": with_picture("c.png", picture(2, (65, 64)), odd((65, 64)), options=NO_BUCKETS),
    "24 pixels and bucket_no_upscale": sprites(24, {**PLAIN, "bucket_no_upscale": True}),
    "resolution below min_bucket_reso": kind(A_B, good("a", "b"), options={**PLAIN, "min_bucket_reso": 256}),
    "resolution above max_bucket_reso": kind(
        A_B, good("a", "b"), options={**PLAIN, "resolution": "256", "max_bucket_reso": 128}
    ),
    "bucket steps the script refuses": kind(A_B, good("a", "b"), options={**PLAIN, "bucket_reso_steps": 48}),
}
