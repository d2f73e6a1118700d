"""The quickstart's pictures are drawn by its own script, and its recipe says what they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.recipe.load import load

RECIPES = Path(__file__).parents[1] / "recipes"
SPRITES = RECIPES / "sprites"
PICTURES = sorted(SPRITES.glob("*.png"))


def test_drawing_them_again_gives_the_same_bytes(odd_path):
    subprocess.run((sys.executable, str(RECIPES / "draw_sprites.py"), str(odd_path)), check=True)
    drawn = {path.name: path.read_bytes() for path in odd_path.iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in SPRITES.iterdir()}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_64_pixels_square_with_hard_edges(picture):
    image = Image.open(picture).convert("RGB")
    assert image.size == (64, 64)
    halved = image.resize((32, 32), Image.Resampling.NEAREST)
    assert halved.resize((64, 64), Image.Resampling.NEAREST).tobytes() == image.tobytes()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_every_colour_a_caption_names_is_in_its_picture(picture):
    colours = Image.open(picture).convert("RGB").getcolors()
    assert colours is not None
    present = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in colours}
    named = re.findall("#[0-9a-f]{6}", picture.with_suffix(".txt").read_text(encoding="utf-8"))
    assert len(named) == 6
    assert set(named) <= present


def test_the_recipe_is_right_and_expects_what_is_there():
    (dataset,) = load(RECIPES / "quickstart.yaml").recipe.datasets
    assert dataset.expect == len(PICTURES) == len(list(SPRITES.glob("*.txt")))
