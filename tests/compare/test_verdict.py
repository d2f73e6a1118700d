"""Which epoch is suggested, and when the figures say that they cannot tell."""

from __future__ import annotations

import math
import random

import pytest
from PIL import Image, ImageFilter

from kohya_runner.compare.metrics import Looked, Training, look, measure, training_of
from kohya_runner.compare.settings import SweepSettings
from kohya_runner.compare.verdict import clear_best, suggest, wanted

GRID = (24, 24)
SIDE = 96
COLOURS = 9
PROMPTS = ("pixel art, 24x24, a cat", "pixel art, 24x24, a dog")
SEEDS = (1, 2, 3, 4)
PLACES = [(prompt, "", seed) for prompt in range(len(PROMPTS)) for seed in SEEDS]


def art(dice: random.Random, colours: int = COLOURS) -> Image.Image:
    """Pixel art at its true size: blobs of few colours."""
    palette = [tuple(dice.randrange(0, 256, 8) for _ in range(3)) for _ in range(colours)]
    picture = Image.new("RGB", (8, 8))
    picture.putdata([palette[n] if n < colours else dice.choice(palette) for n in range(64)])
    return picture.resize(GRID, Image.Resampling.NEAREST)


def painted(true: Image.Image, blur: float) -> Image.Image:
    return true.resize((SIDE, SIDE), Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(max(0.0, blur)))


def photo(dice: random.Random) -> Image.Image:
    """What a base model without the LoRA paints: soft and of many colours."""
    rough = Image.frombytes("RGB", (6, 6), dice.randbytes(108))
    return rough.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def grid_of(folder, painters):
    """Each painter's pictures of every prompt and seed, as the sweep looks at them. All share a picture's own dice."""
    columns = []
    for number, painter in enumerate(painters):
        column = []
        for place in PLACES:
            path = folder / f"{number}-{place[0]}-{place[2]}.png"
            painter(random.Random(f"picture {place}"), random.Random(f"{number} {place}")).save(path)
            column.append(look(path, place, GRID))
        columns.append(column)
    return columns


def judged(folder, *epochs, training=None):
    told = training or [art(random.Random(f"training {n}")) for n in range(8)]
    for number, picture in enumerate(told):
        picture.save(folder / f"training {number}.png")
    known = training_of([folder / f"training {number}.png" for number in range(len(told))], PROMPTS)
    columns = grid_of(folder, [lambda _, own: photo(own), *epochs])
    table = measure(columns, 0, known, SweepSettings(prompts=PROMPTS, seeds=SEEDS))
    labels = ["base", *(f"epoch {n + 1}" for n in range(len(epochs)))]
    return suggest(table, labels, range(1, len(labels))), table


def blurred(radius: float, spread: float = 0.15):
    return lambda same, own: painted(art(same), radius + own.gauss(0, spread))


def coloured(colours: int, spread: int):
    def paint(same: random.Random, own: random.Random) -> Image.Image:
        return painted(art(same, colours + own.randrange(-spread, spread + 1)), 0)

    return paint


def test_two_nearly_equal_epochs_cannot_be_told_apart(odd_path):
    found, table = judged(odd_path, blurred(1.0), blurred(1.02))
    assert found.column is None
    assert found.verdict == "no clear difference"
    assert found.tied == (1, 2)
    assert found.reason.startswith("No clear difference: epoch 1, epoch 2")
    assert table.floors["hardness"] > 0


def test_the_epoch_with_the_harder_edges_is_named(odd_path):
    found, _ = judged(odd_path, blurred(2.2), blurred(1.5), blurred(0.4))
    assert (found.column, found.verdict) == (3, "stands out")
    assert "edge hardness" in found.reason
    assert "next: epoch 2 with" in found.reason


def test_the_epoch_with_the_palette_of_the_training_is_named(odd_path):
    found, table = judged(odd_path, coloured(40, 4), coloured(9, 1), coloured(25, 4))
    assert (found.column, found.verdict) == (2, "stands out")
    assert "off the palette size" in found.reason
    assert clear_best(table, next(m for m in table.rows() if m.key == "off_palette"), (1, 2, 3)) == 2


def test_identical_pictures_are_a_tie(odd_path):
    found, table = judged(odd_path, *[lambda same, _: painted(art(same), 1)] * 3)
    assert (found.column, found.verdict) == (None, "tie")
    assert "the same figures, as far as they are shown: a tie" in found.reason
    assert {clear_best(table, metric, (1, 2, 3)) for metric in table.rows()} == {None}


def test_a_burnt_epoch_is_never_named_and_the_good_one_before_it_is(odd_path):
    def burnt(_, own):
        return Image.frombytes("RGB", (SIDE, SIDE), bytes(255 * (byte > 127) for byte in own.randbytes(3 * SIDE**2)))

    found, _ = judged(odd_path, blurred(2.5), blurred(0.4), burnt)
    assert found.column == 2


def test_an_epoch_whose_seeds_are_all_alike_is_left_out(odd_path):
    frozen = art(random.Random("the only one"))
    found, _ = judged(odd_path, blurred(2.5), blurred(0.8), lambda _, own: painted(frozen, own.random() / 5))
    assert found.column == 2
    assert "every seed gives nearly the same picture: epoch 3" in found.reason


def test_an_epoch_that_copies_a_training_picture_is_left_out(odd_path):
    training = [art(random.Random(f"training {n}")) for n in range(8)]
    found, _ = judged(odd_path, blurred(2.0), blurred(1.0), lambda _, own: painted(own.choice(training), 0),
                      training=training)  # fmt: skip
    assert found.column == 2
    assert "Left out because of a copy of a training picture: epoch 3." in found.reason


def test_the_best_of_several_alike_is_not_named_but_the_bad_one_is(odd_path):
    found, _ = judged(odd_path, blurred(2.5), blurred(1.0), blurred(1.02))
    assert found.column is None
    assert found.tied == (2, 3)
    assert "Clearly behind: epoch 1." in found.reason


def noise(dice: random.Random, places, draw) -> list[Looked]:
    def dots() -> Image.Image:
        return Image.frombytes("RGB", (2, 2), dice.randbytes(12))

    return [Looked(*place, dots(), dots(), palette=int(50 + 9 * draw(dice, place)), alignment=0.5 + draw(dice, place),
                   hardness=0.5 + draw(dice, place)) for place in places]  # fmt: skip


def seed_effect(place, scale: float) -> float:
    return scale * math.sin(97.0 * place[0] + 31.0 * place[2])


DRAWS = {
    "even": lambda dice, place: dice.gauss(0, 0.1) + seed_effect(place, 0.3),
    "heavy tails": lambda dice, _: 0.1 * dice.gauss(0, 1) / max(0.05, abs(dice.gauss(0, 1))),
    "skewed": lambda dice, place: dice.expovariate(5) + seed_effect(place, 0.2),
    "loud prompts": lambda dice, place: dice.gauss(0, 0.02 if place[0] else 0.4),
}


CASES = [(2, 2, 3), (2, 2, 4), (5, 3, 2)]


def named_by_noise(shape: str, trials: int, epochs: int, prompts: int, seeds: int) -> int:
    """How often a suggestion comes of figures that only chance made."""
    dice = random.Random(f"{shape} {epochs}")
    settings = SweepSettings(prompts=tuple("abcd"[:prompts]), seeds=tuple(range(seeds)))
    places = [(prompt, "", seed) for prompt in range(prompts) for seed in range(seeds)]
    named = 0
    for _ in range(trials):
        columns = [noise(dice, places, DRAWS[shape]) for _ in range(epochs + 1)]
        table = measure(columns, 0, Training(grid=GRID, palette=50.0), settings)
        named += suggest(table, ["base", "1", "2", "3", "4", "5"], range(1, epochs + 1)).column is not None
    return named


@pytest.mark.parametrize(("epochs", "prompts", "seeds"), CASES)
def test_noise_alone_gives_a_suggestion_in_one_case_of_twenty_at_most(epochs, prompts, seeds):
    trials = 25
    named = sum(named_by_noise(shape, trials, epochs, prompts, seeds) for shape in DRAWS)
    assert named <= 0.05 * 4 * trials


@pytest.mark.full
@pytest.mark.parametrize("shape", DRAWS)
@pytest.mark.parametrize(("epochs", "prompts", "seeds"), CASES)
def test_each_kind_of_noise_does_over_a_thousand_cases(shape, epochs, prompts, seeds):
    trials = 1000
    assert named_by_noise(shape, trials, epochs, prompts, seeds) <= 0.05 * trials


@pytest.mark.parametrize(("prompts", "seeds", "said"), [
    (2, 1, "2 prompts and 1 seed do not show what is noise: compare again with --seeds 0,1,2,3."),
    (1, 8, "1 prompt and 8 seeds do not show what is noise: compare again with --seeds 0,1,2,3,4,5,6,7 --prompt"),
    (2, 2, "2 prompts and 2 seeds do not show what is noise: compare again with --seeds 0,1,2,3."),
])  # fmt: skip
def test_too_few_pictures_cannot_tell_and_the_options_that_can_are_said(prompts, seeds, said):
    places = [(prompt, "", seed) for prompt in range(prompts) for seed in range(seeds)]
    dice = random.Random(1)
    columns = [noise(dice, places, lambda *_, n=n: 0.2 * n) for n in range(3)]
    settings = SweepSettings(prompts=tuple("ab"[:prompts]), seeds=tuple(range(seeds)))
    found = suggest(measure(columns, None, Training(grid=GRID), settings), "abc", range(3))
    assert (found.column, found.verdict) == (None, "too few pictures")
    assert found.reason.startswith(f"Cannot tell. {said}")


def test_the_options_that_paint_enough_name_another_caption_of_the_training():
    said = wanted(("it's a cat",), (42,), ("it's a cat", "a dog"))
    assert said == """compare again with --seeds 42,43,44,45 --prompt 'it'"'"'s a cat' --prompt 'a dog'"""


def test_several_samplers_of_one_seed_are_one_picture():
    places = [(prompt, sampler, 1) for prompt in range(2) for sampler in ("a", "b", "c", "d")]
    columns = [noise(random.Random(1), places, lambda *_, n=n: 0.2 * n) for n in range(2)]
    settings = SweepSettings(prompts=("a", "b"), seeds=(1,), samplers=("a", "b", "c", "d"))
    table = measure(columns, None, Training(grid=GRID), settings)
    assert suggest(table, "ab", range(2)).verdict == "too few pictures"
    assert set(table.floors.values()) == {None}


def test_a_lora_that_does_nothing_is_not_suggested():
    still = [Looked(*place, Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))) for place in PLACES]
    table = measure([still] * 3, 0, Training(), SweepSettings(prompts=PROMPTS, seeds=SEEDS))
    found = suggest(table, ["base", "epoch 1", "epoch 2"], (1, 2))
    assert (found.column, found.verdict) == (None, "no effect")


def test_drift_alone_leaves_out_what_has_learned_little_and_names_none():
    def shade(level: int) -> list[Looked]:
        return [Looked(*place, Image.new("RGB", (2, 2), (level + place[2],) * 3), Image.new("RGB", (2, 2)))
                for place in PLACES]  # fmt: skip

    table = measure([shade(0), shade(20), shade(60), shade(90)], 0, Training(), SweepSettings(PROMPTS, SEEDS))
    found = suggest(table, ["base", "epoch 1", "epoch 2", "epoch 3"], (1, 2, 3))
    assert found.column is None
    assert (found.verdict, found.tied) == ("no figure", (2, 3))
    assert "Left out because so little is learned (drift): epoch 1." in found.reason


def test_the_least_bleed_alone_names_none():
    def shade(level: int) -> list[Looked]:
        return [Looked(*place, Image.new("RGB", (2, 2), (level + place[2],) * 3), Image.new("RGB", (2, 2)))
                for place in PLACES]  # fmt: skip

    settings = SweepSettings(("a bespoke punk", "a barn"), SEEDS, triggers=("bespoke",))
    table = measure([shade(0), shade(40), shade(60)], 0, Training(), settings)
    assert table.columns[1]["bleed"] < table.columns[2]["bleed"]
    found = suggest(table, ["base", "epoch 1", "epoch 2"], (1, 2))
    assert (found.column, found.verdict) == (None, "no figure")


def test_nothing_painted_is_said():
    assert suggest(measure([], None, Training(), SweepSettings(("a",))), [], []).verdict == "nothing painted"
