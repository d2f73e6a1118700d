from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import PIL.Image
import pytest
from pictures import draw, pair, scanned, source

from kohya_runner.dataset.folder_checks import check_datasets
from kohya_runner.dataset.survey import survey


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says how large it is and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_images_are_sorted_and_paired_with_their_captions(odd_path: Path) -> None:
    pair(odd_path, "b 'two'", "second")
    pair(odd_path, "a.one", "first")
    found = scanned(odd_path)
    assert [(i.path.name, i.caption.text if i.caption else None) for i in found.images] == [
        ("a.one.png", "first"),
        ("b 'two'.png", "second"),
    ]


def test_an_image_is_described_in_full(odd_path: Path) -> None:
    path = draw(odd_path / "a.png", (30, 20))
    (image,) = scanned(odd_path).images
    assert (image.width, image.height, image.format, image.bytes) == (30, 20, "PNG", path.stat().st_size)
    assert len(image.sha256) == 64
    assert image.problem == ""


@pytest.mark.parametrize("name", ["a.PNG", "a.Png", "a.JPEG", "a.jpg", "a.Webp", "a.bmp"])
def test_an_extension_counts_in_any_case(odd_path: Path, name: str) -> None:
    draw(odd_path / name)
    assert [image.path.name for image in scanned(odd_path).images] == [name]


def test_dotfiles_do_not_exist(odd_path: Path) -> None:
    draw(odd_path / ".hidden.png")
    (odd_path / "._a.txt").write_text("x", encoding="utf-8")
    found = scanned(odd_path)
    assert (found.images, found.orphans, found.strays) == ((), (), ())


def test_other_files_are_strays(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "a_sd.npz").write_bytes(b"")
    (odd_path / "notes.md").write_text("x", encoding="utf-8")
    assert [path.name for path in scanned(odd_path).strays] == ["a_sd.npz", "notes.md"]


def test_a_caption_without_an_image_is_an_orphan(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "b.txt").write_text("x", encoding="utf-8")
    assert [path.name for path in scanned(odd_path).orphans] == ["b.txt"]


def test_a_caption_of_the_rule_s_spelling_goes_before_another_case(odd_path: Path) -> None:
    pair(odd_path, "a", "lower")
    (odd_path / "a.TXT").write_text("upper", encoding="utf-8")
    found = scanned(odd_path)
    assert found.images[0].caption is not None
    assert found.images[0].caption.text == "lower"
    assert [path.name for path in found.strays] == ["a.TXT"]


def test_images_of_subfolders_are_counted_and_not_read(odd_path: Path) -> None:
    draw(odd_path / "10_cat" / "a.png")
    draw(odd_path / "10_cat" / "b.PNG")
    (odd_path / "empty").mkdir()
    found = scanned(odd_path)
    assert found.images == ()
    assert found.subfolders == (("10_cat", 2), ("empty", 0))


def test_a_missing_folder_is_a_problem(odd_path: Path) -> None:
    assert scanned(odd_path / "nowhere").problem == "No such file or directory"


def test_a_file_in_place_of_the_folder_is_a_problem(odd_path: Path) -> None:
    assert scanned(draw(odd_path / "a.png")).problem == "Not a directory"


def test_links_to_images_elsewhere_are_followed_where_that_is_allowed(odd_path: Path) -> None:
    real = draw(odd_path / "elsewhere" / "real.png")
    folder = odd_path / "set"
    folder.mkdir()
    (folder / "a.png").symlink_to(real)
    assert scanned(folder, roots=(odd_path / "elsewhere",)).images[0].width == 24


def test_a_broken_link_is_an_unreadable_image(odd_path: Path) -> None:
    (odd_path / "a.png").symlink_to(odd_path / "gone")
    assert scanned(odd_path).images[0].problem == "cannot be read: No such file or directory"


def test_a_pipe_is_no_image_and_nobody_waits_for_it(odd_path: Path) -> None:
    os.mkfifo(odd_path / "a.png")
    assert scanned(odd_path).images[0].problem == "is not a regular file"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "is empty", id="no byte"),
        pytest.param(b"<html>404</html>", "is not an image in a format the trainer reads", id="a web page"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF\n%%BoundingBox: 0 0 9 9\n", "is not an image", id="PostScript is not run"),
        pytest.param(png_header(20_000, 20_000), "has more pixels than Pillow", id="a bomb"),
    ],
)
def test_what_is_no_image_is_a_problem(odd_path: Path, data: bytes, problem: str) -> None:
    (odd_path / "a.png").write_bytes(data)
    assert scanned(odd_path).images[0].problem.startswith(problem)


def test_a_truncated_image_is_a_problem(odd_path: Path) -> None:
    path = draw(odd_path / "a.png", (200, 200))
    PIL.Image.effect_noise((200, 200), 50).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "truncated" in scanned(odd_path).images[0].problem


def test_a_warning_of_the_decoder_is_not_printed(odd_path: Path) -> None:
    (odd_path / "a.png").write_bytes(png_header(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scanned(odd_path)


def test_other_content_than_the_name_says_is_decoded(odd_path: Path) -> None:
    draw(odd_path / "a.png", kind="GIF")
    (image,) = scanned(odd_path).images
    assert (image.format, image.problem, image.width) == ("GIF", "", 24)


def test_a_phone_s_picture_of_several_frames_is_a_jpeg(odd_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (24, 24), colour) for colour in ("red", "blue")]
    frames[0].save(odd_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    (image,) = scanned(odd_path).images
    assert (image.format, image.problem) == ("MPO", "")
    assert [f.code for f in check_datasets([scanned(odd_path)])] == ["caption.missing"]


def test_the_progress_ends_at_the_number_of_images(odd_path: Path) -> None:
    for n in range(7):
        draw(odd_path / f"{n}.png")
    seen: list[tuple[int, int]] = []
    survey(source(odd_path), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 7) for n in range(1, 8)]


def test_ctrl_c_does_not_wait_for_the_rest(odd_path: Path) -> None:
    for n in range(50):
        draw(odd_path / f"{n}.png")

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(source(odd_path), progress=interrupt)


def test_a_name_that_is_no_text_is_scanned(odd_path: Path) -> None:
    os.rename(draw(odd_path / "a.png"), os.fsencode(odd_path) + b"/\xff.png")  # noqa: PTH104 - bytes
    assert scanned(odd_path).images[0].width == 24
