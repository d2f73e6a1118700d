"""Every kind of file as one kind of picture: upright, 8 bits, sRGB, opaque."""

from __future__ import annotations

import struct
import sys
import zlib
from io import BytesIO

import PIL.Image
import pytest
from PIL import ImageCms
from sprites import photo, sprite

from kohya_runner.dataset.prepare import reading
from kohya_runner.dataset.prepare.reading import PictureError, read_bytes, read_plain


def saved(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "near"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 24),
        ("AVIF", {"quality": 95}, 40),
    ],
)
def test_the_same_pixels_out_of_every_format(kind: str, options: dict[str, object], near: int):
    if kind not in PIL.Image.SAVE and kind == "AVIF":
        PIL.Image.init()
        if kind not in PIL.Image.SAVE:
            pytest.skip("this Pillow writes no AVIF")
    picture = photo(64, 48)
    plain, what, found = read_plain(saved(picture, kind, **options), "white")
    assert (what, found, plain.mode) == ((), kind, "RGB")
    assert max(high for _, high in PIL.ImageChops.difference(plain, picture).getextrema()) <= near


def test_a_gif_gives_its_first_frame():
    frames = [sprite(32, 32, seed).quantize(16) for seed in (1, 2)]
    plain, what, _ = read_plain(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "white")
    assert what == ("first frame", "P to RGB")
    assert plain.tobytes() == frames[0].convert("RGB").tobytes()


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_exif_rotation_is_applied(turn: int):
    picture = photo(40, 20)
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    plain, what, _ = read_plain(saved(picture, "PNG", exif=exif), "white")
    assert plain.size == ((40, 20) if turn < 5 else (20, 40))
    assert what == (() if turn == 1 else (f"turned upright (EXIF {turn})",))
    assert (plain.tobytes() == picture.tobytes()) is (turn == 1)


@pytest.mark.parametrize(("mode", "said"), [("RGBA", ()), ("LA", ("LA to RGB",))])
def test_alpha_is_laid_on_the_background(mode: str, said: tuple[str, ...]):
    picture = PIL.Image.new(mode, (4, 4), 0)
    plain, what, _ = read_plain(saved(picture, "PNG"), "#ff00ff")
    assert plain.getpixel((1, 1)) == (255, 0, 255)
    assert what == (*said, "laid on #ff00ff")


def test_a_transparent_colour_of_a_palette_is_laid_on_the_background():
    picture = PIL.Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    picture.putpixel((0, 0), 1)
    plain, _, _ = read_plain(saved(picture, "PNG", transparency=0), "blue")
    assert plain.getpixel((0, 0)) == (200, 100, 50)
    assert plain.getpixel((3, 3)) == (0, 0, 255)


def test_opaque_alpha_is_nothing_to_tell():
    picture = photo(16, 16)
    with_alpha = picture.convert("RGBA")
    plain, what, _ = read_plain(saved(with_alpha, "PNG"), "red")
    assert (plain.tobytes(), what) == (picture.tobytes(), ())


def test_16_bits_are_halved():
    picture = PIL.Image.new("I;16", (2, 1))
    picture.putpixel((0, 0), 65535)
    picture.putpixel((1, 0), 128 * 257)
    plain, what, _ = read_plain(saved(picture, "PNG"), "white")
    assert [plain.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (128, 128, 128)]
    assert what == ("16 bits to 8",)


def test_16_bits_of_colour_are_halved():
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"\0" + struct.pack(">3H", 0xFF12, 0x8034, 0x0056)
    header = chunk(b"IHDR", struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    plain, what, _ = read_plain(data, "white")
    assert (plain.getpixel((0, 0)), what) == ((0xFF, 0x80, 0x00), ("16 bits to 8",))


def test_floats_are_seen_by_their_largest():
    picture = PIL.Image.new("F", (2, 1))
    picture.putpixel((0, 0), 4.0)
    picture.putpixel((1, 0), 2.0)
    plain, _, _ = read_plain(saved(picture, "TIFF"), "white")
    assert [plain.getpixel((x, 0))[0] for x in (0, 1)] == [255, 127]


def test_printing_colours_become_rgb():
    plain, what, _ = read_plain(saved(PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95), "white")
    red, green, blue = plain.getpixel((4, 4))
    assert (red > 200, green < 60, blue < 60, what) == (True, True, True, ("CMYK to RGB",))


def test_a_profile_is_converted_to_srgb():
    grey = (120, 120, 120)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture = PIL.Image.new("RGB", (4, 4), grey)
    same, what, _ = read_plain(saved(picture, "PNG", icc_profile=lab.tobytes()), "white")
    assert (same.getpixel((0, 0)), what) == (grey, ())
    linear = with_gamma(lab.tobytes(), 1.0)
    made, what, _ = read_plain(saved(picture, "PNG", icc_profile=linear), "white")
    assert what == ("profile to sRGB",)
    assert made.getpixel((0, 0))[0] > 170  # linear 120 is 181 in sRGB


def with_gamma(profile: bytes, gamma: float) -> bytes:
    """The same primaries with another curve, and no word of sRGB in it."""
    data, count = bytearray(profile), struct.unpack(">I", profile[128:132])[0]
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    for at in range(132, 132 + 12 * count, 12):
        name, offset, size = struct.unpack(">4sII", data[at : at + 12])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            data[at + 4 : at + 12] = struct.pack(">II", len(profile), len(curve))
        if name == b"desc":
            data[offset : offset + size] = (
                data[offset : offset + size].replace(b"s\0R\0G\0B", b"t\0e\0s\0t").replace(b"sRGB", b"test")
            )
    data += curve
    data[0:4] = struct.pack(">I", len(data))
    return bytes(data)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_broken_profile_is_told_and_the_colours_stay(profile: bytes):
    picture = photo(8, 8)
    plain, what, _ = read_plain(saved(picture, "PNG", icc_profile=profile), "white")
    assert (plain.tobytes(), what) == (picture.tobytes(), ("its colour profile cannot be used",))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x89PNG\r\n\x1a\nnothing", "is not an image|cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not an image in a format that is known"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image in a format that is known"),
        (saved(photo(64, 64), "JPEG")[:600], "cannot be decoded"),
        (saved(photo(64, 64), "PNG")[:600], "cannot be decoded"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC, which needs a plugin: .* -m pip install pillow-heif"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, why: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_has_heif", lambda: False)
    with pytest.raises(PictureError, match=why):
        read_plain(data, "white")


def test_the_plugin_is_named_for_this_python(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_has_heif", lambda: False)
    with pytest.raises(PictureError, match=sys.executable):
        read_plain(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "white")


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PictureError, match="more pixels than Pillow can read"):
        read_plain(saved(photo(64, 64), "PNG"), "white")


def test_an_empty_file_and_a_pipe_are_no_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(PictureError, match="is empty"):
        read_bytes(tmp_path / "a.png")
    import os

    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(PictureError, match="named pipe"):
        read_bytes(tmp_path / "b.png")
