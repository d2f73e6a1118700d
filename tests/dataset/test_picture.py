from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest
from pictures import draw

from kohya_runner.dataset.picture import Traits, read_picture


def traits(path: Path) -> Traits:
    found = read_picture(path).traits
    assert found is not None
    return found


@pytest.mark.parametrize(
    "data",
    [b"text", b"\x89PNG\r\n\x1a\n" + bytes(30), b"GIF89a" + bytes(3), bytes(1000)],
    ids=["text", "png head", "gif head", "zeros"],
)
def test_a_broken_file_has_a_problem_and_no_traits(odd_path: Path, data: bytes):
    path = odd_path / "x.png"
    path.write_bytes(data)
    found = read_picture(path)
    assert found.image.problem == "is not an image in a format the trainer reads"
    assert (found.image.bytes, found.image.width, found.traits) == (len(data), 0, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_facts_of_a_good_file(odd_path: Path, kind: str):
    path = draw(odd_path / "x.png", (30, 20), colour=7, kind=kind)
    image = read_picture(path).image
    assert (image.width, image.height, image.format, image.problem) == (30, 20, kind, "")
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_folders_and_missing_files_are_no_pictures(odd_path: Path):
    (odd_path / "x.png").mkdir()
    problems = [read_picture(odd_path / name).image.problem for name in ("x.png", "none.png")]
    assert problems == ["is not a regular file", "cannot be read: No such file or directory"]


def test_half_a_file_cannot_be_decoded(odd_path: Path):
    buffer = BytesIO()
    PIL.Image.effect_noise((64, 64), 90).save(buffer, "PNG")
    path = odd_path / "x.png"
    path.write_bytes(buffer.getvalue()[:2000])
    assert read_picture(path).image.problem.startswith("cannot be decoded: ")


def test_pixels_are_counted_as_transparent_from_alpha_and_from_a_clear_colour(odd_path: Path):
    image = PIL.Image.new("RGBA", (10, 10), (1, 2, 3, 255))
    image.paste((0, 0, 0, 128), (0, 0, 10, 3))
    image.save(odd_path / "alpha.png")
    PIL.Image.new("RGB", (4, 4), (9, 9, 9)).save(odd_path / "colour.png", transparency=(9, 9, 9))
    PIL.Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(odd_path / "opaque.png")
    found = [traits(odd_path / f"{name}.png").transparent for name in ("alpha", "colour", "opaque")]
    assert found == [30, 16, 0]


def test_a_signature_survives_another_size_and_format(odd_path: Path):
    image = PIL.Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    image.save(odd_path / "a.png")
    image.resize((800, 600)).save(odd_path / "b.jpg", quality=80)
    one, other = traits(odd_path / "a.png").signature, traits(odd_path / "b.jpg").signature
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 4
