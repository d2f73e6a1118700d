from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from edits import edit_dataset, looked, noise, row, write
from PIL import Image

from kohya_runner.dataset.edit import edit_line
from kohya_runner.dataset.edit_checks import MOST, check_edits
from kohya_runner.dataset.scan_cache import ScanCache


def told(metadata: Path) -> list[tuple[str, str, str]]:
    """Severity, code and place, the place without the file."""
    edit = looked(metadata).edit
    return [(f.severity.value, f.code, f.where.removeprefix(f"{metadata}:")) for f in check_edits(edit)]


def only(metadata: Path):
    (finding,) = check_edits(looked(metadata).edit)
    return finding


def test_a_whole_dataset_has_no_fault_and_is_a_scan_of_its_outputs(odd_path):
    found = looked(edit_dataset(odd_path / "my data"))
    assert check_edits(found.edit) == ()
    assert [image.path.name for image in found.scan.images] == ["001.png", "002.png", "003.png"]
    assert {image.path.parent.name for image in found.scan.images} == {"outputs"}
    assert [image.caption.text for image in found.scan.images] == [f"make it number {n}" for n in (1, 2, 3)]
    assert edit_line(found.edit).endswith("metadata.jsonl: 3 edit pairs, 64x64 (3)")


def test_all_faults_are_told_in_one_go(odd_path):
    metadata = edit_dataset(
        odd_path,
        9,
        row(1, instruction="  \n "),
        row(2, instruction="make it blue\nand round"),
        row(3, input_image="inputs/033.png"),
        row(4, output_image="../outside.png"),
        row(5, instruction=None, edit_prompt="make it red"),
        row(6, output_image=7),
        row(7, output_image="inputs/007.png"),
        row(8, mood="happy"),
        row(8),
        row(9, output_image="outputs/008.png"),
        "no json",
    )
    assert sorted(told(metadata)) == [
        ("error", "caption.edit_empty", "1:50"),
        ("error", "dataset.edit_file", "11:1"),
        ("error", "dataset.edit_key", "5:1"),
        ("error", "dataset.edit_key", "6:86"),
        ("error", "dataset.edit_missing", "3:17"),
        ("error", "dataset.edit_path", "4:86"),
        ("warning", "caption.edit_lines", "2:50"),
        ("warning", "dataset.edit_duplicate", "9:1"),
        ("warning", "dataset.edit_target_twice", "10:86"),
        ("warning", "dataset.edit_unknown_key", "8:105"),
        ("warning", "image.edit_same", "7:86"),
    ]


def test_places_are_those_of_the_values(odd_path):
    metadata = edit_dataset(odd_path, 1, row(1, instruction=""))
    line, column = map(int, only(metadata).where.rsplit(":", 2)[1:])
    assert metadata.read_text(encoding="utf-8").splitlines()[line - 1][column - 1 :].startswith('""')


@pytest.mark.parametrize(
    ("key", "synonym"),
    [("instruction", "edit_prompt"), ("instruction", "instrution"), ("output_image", "edited_image"),
     ("input_image", "Input_Image"), ("input_image", "source")],
)  # fmt: skip
def test_the_name_that_was_meant_is_told(odd_path, key, synonym):
    values = row(1)
    metadata = edit_dataset(odd_path, 1, {synonym if name == key else name: value for name, value in values.items()})
    finding = only(metadata)
    assert (finding.code, finding.hint) == ("dataset.edit_key", f"rename '{synonym}' to '{key}'")


def test_a_misspelt_extra_key_is_told_once_with_its_number(odd_path):
    metadata = edit_dataset(odd_path, 3, *(row(n, instructions="x", id=n) for n in (1, 2, 3)))
    first, second = check_edits(looked(metadata).edit)
    assert (first.message, first.hint) == (
        "'instructions' is not a key of an edit dataset (3 rows)",
        "did you mean 'instruction'?",
    )
    assert second.hint == "it is ignored"


@pytest.mark.parametrize(
    ("path", "what"),
    [("/etc/hosts", "is an absolute path"), ("C:\\a.png", "is an absolute path"), ("", "is empty"),
     ("inputs/../../a.png", "leads out of the metadata file's folder"), ("..", "leads out"),
     ("a\0.png", "no path has")],
)  # fmt: skip
def test_no_row_leads_out_of_the_folder(odd_path, path, what):
    finding = only(edit_dataset(odd_path, 1, row(1, input_image=path)))
    assert finding.code == "dataset.edit_path"
    assert what in finding.message


def test_a_path_through_a_folder_and_back_is_inside(odd_path):
    assert told(edit_dataset(odd_path, 1, row(1, input_image="outputs/../inputs/001.png"))) == []


def test_the_nearest_file_is_named_where_one_is_missing(odd_path):
    finding = only(edit_dataset(odd_path, 2, row(1, output_image="outputs/01.png")))
    assert finding.code == "dataset.edit_missing"
    assert finding.hint == "did you mean 'outputs/001.png'?"


def test_a_picture_that_cannot_be_read_is_told_by_its_row(odd_path):
    metadata = edit_dataset(odd_path, 2)
    (odd_path / "inputs" / "001.png").write_bytes(b"no picture")
    os.truncate(odd_path / "outputs" / "002.png", 40)
    assert told(metadata) == [("error", "image.edit_unreadable", "1:17"), ("error", "image.edit_unreadable", "2:86")]
    assert looked(metadata).scan.images == ()


def test_a_kind_that_not_every_trainer_reads_is_an_error(odd_path):
    metadata = edit_dataset(odd_path, 1, row(1, input_image="inputs/a.gif"))
    noise(odd_path / "inputs" / "a.gif")
    assert told(metadata) == [("error", "image.edit_kind", "1:17")]


def test_the_same_pixels_in_another_file_are_the_same_picture(odd_path):
    metadata = edit_dataset(odd_path, 2)
    with Image.open(odd_path / "inputs" / "001.png") as before:
        before.save(odd_path / "outputs" / "001.png", compress_level=0)
    first, second = looked(metadata).edit.pairs
    assert first.control.sha256 != first.target.sha256
    assert (first.same, second.same) == (True, False)
    assert told(metadata) == [("warning", "image.edit_same", "1:86")]


def test_one_changed_pixel_makes_another_picture(odd_path):
    metadata = edit_dataset(odd_path, 1)
    with Image.open(odd_path / "inputs" / "001.png") as before:
        before.putpixel((63, 63), (1, 2, 3))
        before.save(odd_path / "outputs" / "001.png")
    assert told(metadata) == []


@pytest.mark.parametrize(
    ("size", "severity", "code"),
    [((128, 128), "warning", "image.edit_size"), ((65, 64), "warning", "image.edit_size"),
     ((128, 64), "error", "image.edit_aspect")],
)  # fmt: skip
def test_another_size_is_made_one_and_another_shape_is_an_error(odd_path, size, severity, code):
    metadata = edit_dataset(odd_path, 1)
    noise(odd_path / "inputs" / "001.png", size)
    assert told(metadata) == [(severity, code, "1:17")]


def test_what_trainers_overlook_in_an_input_is_told(odd_path):
    metadata = edit_dataset(odd_path, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((64, 64), 90).convert("RGB").save(odd_path / "inputs" / "001.png", exif=exif)
    Image.effect_noise((64, 64), 90).convert("LA").convert("RGBA").save(odd_path / "inputs" / "002.png")
    with Image.open(odd_path / "inputs" / "002.png") as clear:
        clear.putpixel((0, 0), (0, 0, 0, 0))
        clear.save(odd_path / "inputs" / "002.png")
    assert told(metadata) == [("warning", "image.edit_rotation", "1:17"), ("warning", "image.edit_alpha", "2:17")]


def test_of_very_many_faults_the_rest_is_counted(odd_path):
    metadata = write(odd_path, *(row(n) for n in range(50)))
    found = check_edits(looked(metadata).edit)
    assert len(found) == MOST
    assert found[-1].message.endswith("(and 80 more of this kind)")


def test_a_file_without_a_row_is_an_error(odd_path):
    finding = only(write(odd_path))
    assert (finding.code, finding.where) == ("dataset.empty", "recipe.yaml:3:5")


def test_the_recipe_may_say_how_many_pairs_there_are(odd_path):
    metadata = edit_dataset(odd_path, 3, row(1), row(2, instruction=""), row(3))
    assert check_edits(looked(metadata, expect=2).edit)[0].code == "caption.edit_empty"
    found = {f.code: f.message for f in check_edits(looked(metadata, expect=3).edit)}
    assert found["dataset.count"] == "expected 3 edit pairs, found 2 of 3 rows usable"


def test_pictures_are_read_once_and_known_the_next_time(odd_path):
    metadata = edit_dataset(odd_path / "data", 3, row(1), row(1, instruction="again"), row(2))
    for path in (odd_path / "data").rglob("*.png"):
        os.utime(path, (1, 1))
    with ScanCache(odd_path / "cache", clock=lambda: 1 << 62) as cache:
        assert looked(metadata).decoded == 4
        from kohya_runner.dataset.facts import Source
        from kohya_runner.dataset.survey import read_source

        source = Source(metadata, "pairs")
        assert read_source(source, cache).decoded == 4
        cache.flush()
        assert read_source(source, cache).decoded == 0


def test_a_list_of_rows_is_read_as_lines_are(odd_path):
    edit_dataset(odd_path, 2)
    metadata = odd_path / "metadata.json"
    metadata.write_text(json.dumps([row(1), row(2)], indent=2), encoding="utf-8")
    assert len(looked(metadata).edit.usable) == 2
