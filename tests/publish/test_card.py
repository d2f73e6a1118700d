from __future__ import annotations

import io
import json

import PIL.Image
import pytest
import ruamel.yaml
from click.testing import CliRunner
from PIL.PngImagePlugin import PngInfo

from kohya_runner.commands.cli import main
from kohya_runner.compare.sweep import FROM_CAPTIONS
from kohya_runner.hub import Access
from kohya_runner.publish import publishing
from kohya_runner.recipe.finish import Publish
from kohya_runner.record import record as records


@pytest.fixture
def made(mine):
    def made(run_dir, **settings):
        reach = Access(mine.endpoint, "good")
        subject = publishing.of_run(run_dir)
        given = {"repo": "me/cat", "epoch": 2, **settings}
        return publishing.prepared(subject, Publish(**given), reach, {}, asked=True, say=lambda _: None)

    return made


def card_of(published):
    return published.pieces[-1].head.decode()


def front(card):
    return ruamel.yaml.YAML(typ="safe").load(card.split("---\n", 2)[1])


def compare_json(run_dir, **values):
    file = run_dir / "comparison" / "compare.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **values}))


def test_the_front_matter_is_what_the_hub_reads(made, compared):
    found = front(card_of(made(compared, trigger=("zkw cat", "a 'b': c"))))
    assert found == {
        "license": "openrail++", "base_model": "org/base", "base_model_relation": "adapter",
        "pipeline_tag": "text-to-image", "tags": ["lora", "sd15", "kohya-runner"],
        "instance_prompt": "zkw cat, a 'b': c",
        "widget": [
            {"text": "a cat", "output": {"url": "samples/1.png"}},
            {"text": "a dog", "output": {"url": "samples/2.png"}},
        ],
    }  # fmt: skip


def test_the_card_says_how_it_was_trained_and_on_how_much(made, compared):
    card = card_of(made(compared))
    for line in (
        "| trainer | sd-scripts train\\_network.py  |", "| steps | 40 of 40 |", "| device | NVIDIA H200 |",
        "| time | 2 h 00 min |", "| learning\\_rate | 1e-4 |", "| network\\_dim | 2 |",
        "- 12 pictures, 11 captions; repeats: 10", "- trained at 64x48", "Epoch 2 was named.",
    ):  # fmt: skip
        assert line in card, line
    assert "secret" not in card


def test_the_same_run_gives_the_same_bytes(made, compared):
    first, second = made(compared), made(compared)
    assert [(p.name, p.sha256) for p in first.pieces] == [(p.name, p.sha256) for p in second.pieces]


def test_the_grid_has_the_base_model_and_the_file_side_by_side(made, compared):
    published = made(compared)
    grid = next(p for p in published.pieces if p.name == "samples/grid.png")
    with PIL.Image.open(io.BytesIO(grid.head)) as picture:
        assert picture.size == (64 * 2 + 8, 48 * 2 + 8)
        told = json.loads((compared / "comparison" / "compare.json").read_bytes())
        cell = next(c for c in told["cells"] if (c["column"], c["prompt"]) == (2, 1))
        with PIL.Image.open(compared / "comparison" / cell["file"]) as painted:
            assert picture.getpixel((64 + 8 + 30, 48 + 8 + 20)) == painted.convert("RGB").getpixel((30, 20))
    assert "From left to right: the base model, epoch 2." in card_of(published)


def test_every_prompt_is_in_the_grid_before_a_second_seed(made, run_dir):
    words = ("--prompt", "a", "--prompt", "b", "--prompt", "c", "--seeds", "1,2,3")
    assert CliRunner().invoke(main, ["compare", str(run_dir), *words]).exit_code == 0
    grid = next(p for p in made(run_dir).pieces if p.name == "samples/grid.png")
    told = json.loads((run_dir / "comparison" / "compare.json").read_bytes())
    with PIL.Image.open(io.BytesIO(grid.head)) as picture:
        rows = [picture.getpixel((64 + 8 + 30, (48 + 8) * n + 20)) for n in range(6)]
    wanted = []
    for prompt, seed in ((p, s) for p in range(3) for s in (1, 2)):
        cell = next(c for c in told["cells"] if (c["column"], c["prompt"], c["seed"]) == (2, prompt, seed))
        with PIL.Image.open(run_dir / "comparison" / cell["file"]) as painted:
            wanted.append(painted.convert("RGB").getpixel((30, 20)))
    assert rows == wanted


def test_prompts_that_are_captions_are_not_shown(made, compared):
    compare_json(compared, notes=[FROM_CAPTIONS])
    published = made(compared)
    assert "a dog" not in card_of(published)
    assert [p.name for p in published.pieces] == ["my cat.safetensors", "samples/grid.png", "README.md"]


def test_what_a_script_wrote_into_a_picture_stays_here(made, compared):
    note = PngInfo()
    note.add_text("parameters", "a shy cat in my kitchen")
    for path in (compared / "comparison" / "cells").glob("*.png"):
        with PIL.Image.open(path) as picture:
            picture.load()
            picture.save(path, pnginfo=note)
    assert all(b"kitchen" not in p.head for p in made(compared).pieces)


def test_a_comparison_that_names_a_picture_elsewhere_shows_none_of_it(made, compared, odd_path):
    PIL.Image.new("RGB", (64, 48), "red").save(odd_path / "private.png")
    cells = json.loads((compared / "comparison" / "compare.json").read_bytes())["cells"]
    compare_json(compared, cells=[{**cell, "file": str(odd_path / "private.png")} for cell in cells])
    assert [p.name for p in made(compared).pieces] == ["my cat.safetensors", "README.md"]


@pytest.mark.parametrize("cells", [None, 3, [{}], [{"column": "x"}], [3]])
def test_a_damaged_comparison_is_none(made, compared, cells):
    compare_json(compared, cells=cells)
    assert "## Samples" not in card_of(made(compared))


def test_without_a_comparison_there_are_no_samples(made, run_dir):
    published = made(run_dir)
    assert "## Samples" not in card_of(published)
    assert [p.name for p in published.pieces] == ["my cat.safetensors", "README.md"]


def test_words_of_strangers_are_no_markup(made, compared):
    name = "# x\n[a](http://evil) | <script>alert(1)</script>"
    card = card_of(made(compared, title=name, license="x: y\n- z"))
    assert "\n# x" not in card.split("---\n", 2)[2].replace("# \\# x", "")
    assert "](http" not in card
    assert "<script>" not in card
    assert front(card)["license"] == "x: y\n- z"


@pytest.mark.parametrize(
    ("model", "settings", "base", "licence"),
    [
        ("hf://org/base/file.safetensors", {}, "org/base", "openrail++"),
        ("models/base.safetensors", {}, None, None),
        ("/home/me/base.safetensors", {"base_model": "org/base"}, "org/base", "openrail++"),
        ("org/unknown", {}, "org/unknown", None),
        ("org/base", {"license": "mit"}, "org/base", "mit"),
    ],
)
def test_the_base_model_and_its_licence(made, run_dir, model, settings, base, licence):  # noqa: PLR0917
    record = records.read(run_dir)
    records.write(run_dir, record.changed(recipe={**record.recipe, "model": {"value": model, "source": "x"}}))
    published = made(run_dir, **settings)
    found = front(card_of(published))
    assert (found.get("base_model"), found.get("license")) == (base, licence)
    assert any("--license" in note for note in published.notes) is (licence is None)
    assert ("is not known" in card_of(published)) is (licence is None)


def test_a_licence_of_another_name_keeps_its_name_and_address(made, mine, run_dir):
    mine.repos["org/base"].card = {"license": "other", "license_name": "flux-1-dev", "license_link": "https://x.org/l"}
    found = front(card_of(made(run_dir)))
    assert (found["license"], found["license_name"], found["license_link"]) == (
        "other",
        "flux-1-dev",
        "https://x.org/l",
    )
