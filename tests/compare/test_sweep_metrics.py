from __future__ import annotations

import random
from dataclasses import replace

import pytest
from PIL import Image, ImageFilter

from kohya_runner.compare import pictures
from kohya_runner.compare.clip import Likeness
from kohya_runner.compare.metrics import METRICS, Looked, Training, look, measure, training_of
from kohya_runner.compare.settings import SweepSettings

GRID = (24, 24)
COLOURS = 9


def art(seed: int = 1, colours: int = COLOURS) -> Image.Image:
    """Pixel art at its true size, with exactly so many colours."""
    dice = random.Random(seed)
    palette = [(8 * n + 40, 250 - 16 * n, dice.randrange(256)) for n in range(colours)]
    picture = Image.new("RGB", GRID)
    picture.putdata([palette[n] if n < colours else dice.choice(palette) for n in range(24 * 24)])
    return picture


def enlarged(picture: Image.Image, side: int = 480) -> Image.Image:
    return picture.resize((side, side), Image.Resampling.NEAREST)


@pytest.mark.parametrize("side", [240, 480, 512, 1024])
def test_a_true_enlargement_is_on_the_grid_and_hard_and_has_its_own_colours(side):
    true = enlarged(art(), side)
    assert pictures.grid_alignment(true, GRID) == 1
    assert pictures.edge_hardness(true) == 1
    assert pictures.palette_size(true, GRID) == COLOURS


@pytest.mark.parametrize("side", [240, 480, 1024])
def test_a_blurred_one_is_neither(side):
    blurred = enlarged(art(), side).filter(ImageFilter.GaussianBlur(side / 96))
    assert pictures.grid_alignment(blurred, GRID) < 0.5
    assert pictures.edge_hardness(blurred) < 0.3
    assert pictures.palette_size(blurred, GRID) > COLOURS


def test_a_grid_of_another_pitch_is_no_alignment():
    assert pictures.grid_alignment(enlarged(art(), 480), (17, 17)) < 0.2


def test_noise_has_no_grid():
    noise = Image.frombytes("RGB", (480, 480), random.Random(1).randbytes(3 * 480 * 480))
    assert pictures.grid_alignment(noise, GRID) < 0.02


def test_a_plain_picture_has_no_edges_to_judge():
    plain = Image.new("RGB", (480, 480), "red")
    assert pictures.grid_alignment(plain, GRID) is None
    assert pictures.edge_hardness(plain) is None
    assert pictures.palette_size(plain, GRID) == 1


def test_the_hardness_of_a_ramp_is_one_over_its_length():
    ramp = Image.new("L", (60, 60))
    ramp.putdata([min(200, max(0, (x - 28) * 50)) for _ in range(60) for x in range(60)])
    assert pictures.edge_hardness(ramp.convert("RGB")) == pytest.approx(0.25, abs=0.01)


def test_black_and_white_are_as_different_as_can_be():
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    assert pictures.difference(black, white) == 1
    assert pictures.difference(black, black) == 0


def test_a_copy_of_a_training_picture_is_found_mirrored_and_enlarged_too():
    training = [pictures.shrunk(art(n), pictures.TINY) for n in range(5)]
    copy = pictures.shrunk(enlarged(art(3)), pictures.TINY)
    mirrored = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert pictures.nearest(copy, training) > 0.99
    assert pictures.nearest(mirrored, training) > 0.99
    assert pictures.nearest(pictures.shrunk(Image.new("RGB", (64, 64), "blue"), pictures.TINY), training) < 0.8
    assert pictures.nearest(copy, ()) is None


def looked(picture: Image.Image, prompt: int = 0, seed: int = 1) -> Looked:
    return Looked(prompt, "", seed, pictures.shrunk(picture), pictures.shrunk(picture, pictures.TINY))


def colour(name: str) -> Image.Image:
    return Image.new("RGB", (64, 64), name)


def figures(*columns, base=0, training=None, prompts=("a",), triggers=()):
    settings = SweepSettings(prompts=prompts, seeds=(1, 2), triggers=triggers)
    return measure(columns, base, training or Training(), settings)


def test_a_picture_has_figures_of_its_own_and_a_column_their_mean():
    base = [looked(art()), looked(art(1), 1)]
    column = [looked(art(2)), looked(art(3), 1)]
    table = figures(base, column, prompts=("a", "b"))
    alone = [table.of_cell(1, (prompt, "", 1)) for prompt in range(2)]
    assert table.columns[1]["drift"] == pytest.approx((alone[0]["drift"] + alone[1]["drift"]) / 2)
    assert "diversity" not in alone[0]
    assert table.of_cell(0, (0, "", 1)) == {}
    assert table.of_cell(1, (9, "", 1)) == {}


def test_clip_figures_are_means_of_the_pictures_that_have_them():
    column = [replace(looked(art(n), seed=n), clip=Likeness(0.1 * n, 0.2 * n if n > 1 else None)) for n in (1, 2, 3)]
    table = figures([looked(art())], [*column, looked(art(9), seed=9)])
    assert table.columns[1]["clip_prompt"] == pytest.approx(0.2)
    assert table.columns[1]["clip_training"] == pytest.approx(0.5)
    assert table.columns[0]["clip_prompt"] is None
    assert {"clip_prompt", "clip_training"} <= {metric.key for metric in table.rows()}


def test_identical_seeds_have_no_diversity():
    same = [looked(art(), seed=1), looked(art(), seed=2)]
    other = [looked(art(1), seed=1), looked(art(2), seed=2)]
    table = figures(same, other)
    assert table.columns[0]["diversity"] == 0
    assert table.columns[1]["diversity"] > 0.05


def test_one_seed_alone_has_no_diversity_to_speak_of():
    assert figures([looked(art())]).columns[0]["diversity"] is None


def test_drift_is_measured_against_the_same_prompt_and_seed():
    base = [looked(colour("black"), seed=1), looked(colour("white"), seed=2)]
    still = [looked(colour("black"), seed=1), looked(colour("white"), seed=2)]
    turned = [looked(colour("white"), seed=1), looked(colour("black"), seed=2)]
    table = figures(base, still, turned)
    assert [column["drift"] for column in table.columns] == [None, 0, 1]


def test_a_base_picture_that_shows_nothing_is_no_measure_of_drift():
    base = [replace(looked(colour("black"), seed=1), plain=True), looked(art(1), seed=2)]
    column = [looked(art(2), seed=1), looked(art(1), seed=2)]
    assert figures(base, column).columns[1]["drift"] == 0


def test_prompts_without_the_trigger_are_bleed_and_not_drift():
    base = [looked(colour("black"), prompt=0), looked(colour("black"), prompt=1)]
    trained = [looked(colour("white"), prompt=0), looked(colour("black"), prompt=1)]
    table = figures(base, trained, prompts=("a Bespoke punk", "a barn"), triggers=("bespoke punk",))
    assert (table.columns[1]["drift"], table.columns[1]["bleed"]) == (1, 0)


def test_without_a_base_there_is_no_drift():
    assert figures([looked(art())], base=None).columns[0]["drift"] is None


def test_pixel_art_is_known_by_the_size_of_the_training_pictures(odd_path):
    files = []
    for number in range(3):
        files.append(odd_path / f"{number}.png")
        art(number).save(files[-1])
    training = training_of(files, ())
    assert (training.grid, training.palette) == (GRID, COLOURS)
    enlarged(art(), 480).save(odd_path / "painted.png")
    found = look(odd_path / "painted.png", (0, "", 1), training.grid)
    assert (found.palette, found.alignment, found.hardness) == (COLOURS, 1, 1)


def test_enlarged_pixel_art_is_known_by_its_captions(odd_path):
    enlarged(art()).save(odd_path / "a.png")
    assert training_of([odd_path / "a.png"], ("pixel art, 24x24",)).grid == GRID
    assert training_of([odd_path / "a.png"], ("a photograph, 24x24",)).grid is None


def test_a_broken_picture_is_passed_over(odd_path):
    (odd_path / "a.png").write_bytes(b"no picture")
    assert training_of([odd_path / "a.png"], ()).tiny == ()
    assert look(odd_path / "a.png", (0, "", 1), None) is None


def test_photographs_get_no_pixel_figures():
    assert not {"palette", "alignment", "hardness"} & set(figures([looked(art())]).columns[0])


def test_every_metric_says_what_it_is():
    assert len({m.key for m in METRICS}) == len(METRICS)
    assert all(m.what and m.title for m in METRICS)
