from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from kohya_runner.commands.cli import main
from kohya_runner.compare.samples import compare_images


def sample(folder, name, colour="red"):
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (64, 64), colour)
    picture.putpixel((0, 0), (9, 9, 9))  # a picture of one colour shows nothing
    picture.save(folder / name)


def test_epochs_are_columns_and_prompts_are_rows(odd_path):
    folder = odd_path / "output" / "sample"
    sample(folder, "my_cat_e000000_00_20260131110621_42.png", "black")
    sample(folder, "my_cat_e000001_00_20260131110721_42.png", "white")
    sample(folder, "my_cat_e000010_00_20260131110821_42.png", "gray")
    sample(folder, "my_cat_e000001_01_20260131110721.png")
    found = compare_images(folder)
    assert [head.label for head in found.columns] == ["before training", "epoch 1", "epoch 10"]
    assert found.prompts == ("sample 0", "sample 1")
    assert [column["drift"] for column in found.table.columns][:2] == [None, pytest.approx(1.0, abs=0.01)]
    assert {(s.column, s.prompt) for s in found.failed} == {(0, 1), (2, 1)}


def test_steps_are_told_from_epochs_and_the_newest_of_two_counts(odd_path):
    sample(odd_path, "a_000050_00_20260131110621.png", "red")
    sample(odd_path, "a_000050_00_20260131120000.png", "blue")
    sample(odd_path, "a_000150_00_20260131110721.png")
    found = compare_images(odd_path)
    assert [head.label for head in found.columns] == ["step 50", "step 150"]
    assert found.shown[0].path.name == "a_000050_00_20260131120000.png"


def test_a_run_without_an_output_name_is_read_too(odd_path):
    sample(odd_path, "e000001_00_20260131110621_42.png")
    assert [head.label for head in compare_images(odd_path).columns] == ["epoch 1"]


def test_the_command_writes_the_three_files_and_paints_nothing(odd_path):
    sample(odd_path / "samples", "a_e000001_00_20260131110621_1.png")
    sample(odd_path / "samples", "a_e000002_00_20260131110621_1.png", "blue")
    words = ["compare", "--images", str(odd_path / "samples"), "--output", str(odd_path / "out"), "--json"]
    ended = CliRunner().invoke(main, words)
    assert ended.exit_code == 0, ended.output
    assert [c["label"] for c in json.loads(ended.output)["columns"]] == ["epoch 1", "epoch 2"]
    assert {p.name for p in (odd_path / "out").iterdir()} == {"compare.json", "contact-sheet.png", "report.html"}


def test_other_pictures_are_no_samples(odd_path):
    sample(odd_path, "holiday.png")
    ended = CliRunner().invoke(main, ["compare", "--images", str(odd_path)])
    assert ended.exit_code == 2
    assert "no sample picture of the trainer" in ended.output
