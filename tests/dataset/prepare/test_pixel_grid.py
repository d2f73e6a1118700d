"""The true pixels of sprites enlarged in every usual way; of everything else: not known."""

from __future__ import annotations

import PIL.Image
import pytest
from sprites import RESAMPLING, as_jpeg, photo, sprite

from kohya_runner.dataset.prepare.pixel_grid import find_grid


@pytest.mark.parametrize("size", [(16, 16), (24, 32), (48, 48), (64, 64)], ids=str)
@pytest.mark.parametrize("way", [RESAMPLING.NEAREST, RESAMPLING.BILINEAR, RESAMPLING.BICUBIC])
@pytest.mark.parametrize("quality", [None, 80])
def test_the_grid_of_an_enlarged_sprite_is_found(size: tuple[int, int], way: RESAMPLING, quality: int | None):
    small = sprite(*size, seed=sum(size))
    large = small.resize((size[0] * 8, size[1] * 8), way)
    grid = find_grid(large if quality is None else as_jpeg(large, quality))
    assert grid is not None
    assert grid.size == size
    assert grid.exact is (way is RESAMPLING.NEAREST and quality is None)


@pytest.mark.parametrize("times", [5, 8, 13])
def test_a_sprite_enlarged_by_nearest_neighbour_is_what_it_was(times: int):
    small = sprite(32, 32)
    large = small.resize((32 * times, 32 * times), RESAMPLING.NEAREST)
    grid = find_grid(large)
    assert grid is not None
    assert grid.reduced(large).tobytes() == small.tobytes()


def test_a_factor_that_is_not_whole_is_found():
    large = sprite(48, 48).resize((500, 500), RESAMPLING.NEAREST)
    grid = find_grid(large)
    assert grid is not None
    assert grid.size == (48, 48)


@pytest.mark.parametrize("way", [RESAMPLING.BILINEAR, RESAMPLING.BICUBIC])
def test_the_pixels_of_a_smoothed_sprite_are_close_to_what_they_were(way: RESAMPLING):
    small = sprite(32, 32)
    large = small.resize((512, 512), way)
    grid = find_grid(large)
    assert grid is not None
    worst = PIL.ImageChops.difference(grid.reduced(large), small).getextrema()
    assert max(high for _, high in worst) <= 24


def test_a_picture_as_small_as_a_sprite_is_one():
    grid = find_grid(sprite(32, 48))
    assert grid is not None
    assert (grid.size, grid.exact) == ((32, 48), True)


@pytest.mark.parametrize("quality", [None, 60])
@pytest.mark.parametrize("seed", range(4))
def test_a_photograph_has_no_grid(seed: int, quality: int | None):
    picture = photo(640, 480, seed)
    assert find_grid(picture if quality is None else as_jpeg(picture, quality)) is None


@pytest.mark.parametrize("colour", ["white", "#808080"])
def test_a_flat_picture_has_no_grid(colour: str):
    assert find_grid(PIL.Image.new("RGB", (512, 512), colour)) is None


@pytest.mark.parametrize("size", [(65, 9), (9, 65), (1, 4000), (4000, 1)])
def test_odd_shapes_have_no_grid(size: tuple[int, int]):
    assert find_grid(PIL.Image.new("RGB", size, "red")) is None
