from __future__ import annotations

from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest
from pictures import draw

from kohya_runner.dataset.decode import read_image
from kohya_runner.dataset.picture import Traits, read_picture


def traits(path: Path) -> Traits:
    found = read_picture(path).traits
    assert found is not None
    return found


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(30), b"GIF89a" + bytes(3), bytes(1000)],
    ids=["empty", "text", "png head", "gif head", "zeros"],
)
def test_the_verdict_on_a_broken_file_is_the_scans(odd_path: Path, data: bytes):
    path = odd_path / "x.png"
    path.write_bytes(data)
    assert read_picture(path).image == read_image(path)
    assert read_picture(path).traits is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_facts_of_a_good_file_are_the_scans(odd_path: Path, kind: str):
    path = draw(odd_path / "x.png", (30, 20), colour=7, kind=kind)
    assert read_picture(path).image == read_image(path)


def test_folders_and_missing_files_are_the_scans_too(odd_path: Path):
    (odd_path / "x.png").mkdir()
    for path in (odd_path / "x.png", odd_path / "none.png"):
        assert read_picture(path).image == read_image(path)


def test_half_a_file_is_the_same_problem(odd_path: Path):
    buffer = BytesIO()
    PIL.Image.effect_noise((64, 64), 90).save(buffer, "PNG")
    path = odd_path / "x.png"
    path.write_bytes(buffer.getvalue()[:2000])
    assert read_picture(path).image == read_image(path)
    assert read_picture(path).image.problem


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
