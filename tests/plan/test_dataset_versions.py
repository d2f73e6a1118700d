"""``datasets[].prepare``: told by a plan, done by a launch, into versions that earlier runs may rest on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import PIL.Image
import pytest
from chat_server import chat_server, said
from sprites import RESAMPLING, as_jpeg, sprite

from kohya_runner.dataset.captioning.caption_dataset import by_template
from kohya_runner.dataset.captioning.endpoint import ask
from kohya_runner.plan.dataset_versions import make_versions
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import exit_code
from kohya_runner.plan.value import Plan, Request

RECIPE = """
name: sprites
family: sd15
model: {random: sd15}
datasets:
  - images: raw
    concept: sprite
    repeats: 2
    prepare: {style: pixel_art}
args:
  network_module: networks.lora
  network_dim: 8
  resolution: 64
  max_train_epochs: 2
  train_batch_size: 2
  save_every_n_epochs: 1
  mixed_precision: "no"
  caption_extension: .txt
"""


@pytest.fixture
def recipe(odd_path: Path) -> Path:
    raw = odd_path / "raw"
    raw.mkdir()
    for number in range(4):
        large = sprite(16, 16, number).resize((128, 128), RESAMPLING.NEAREST)
        as_jpeg(large, 90).save(raw / f"{number}.gif" if number else raw / "0.jpg")
        (raw / f"{number}.txt").write_text(f"sprite {number}")
    file = odd_path / "sprites.yaml"
    file.write_text(RECIPE)
    return file


def planned(recipe: Path, *overrides: str) -> Plan:
    request = Request(recipe, overrides, workspace=str(recipe.parent / "ws"), practice=True)
    return make_plan(request, environ={"HOME": str(recipe.parent)})


def launched(recipe: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "kohya_runner", "launch", str(recipe), "--workspace", str(recipe.parent / "ws"))
    env = {**os.environ, "KOHYA_PRACTICE_STEP_SECONDS": "0.001"}
    return subprocess.run((*argv, "--practice", *words), capture_output=True, text=True, check=False, env=env)


def prepared(recipe: Path, *overrides: str) -> list[str]:
    made = planned(recipe, *overrides)
    return [
        one.code
        for one in make_versions(made.loaded, made.workspace, None, lambda told: by_template(told.template or ""))
    ]


def versions(recipe: Path) -> list[str]:
    return sorted(path.name for path in (recipe.parent / "ws" / "prepared" / "sprites").glob("*"))


def test_a_plan_tells_what_is_missing_and_writes_nothing(recipe: Path):
    made = planned(recipe)
    assert [one.code for one in made.findings if one.code.startswith("dataset.")] == ["dataset.unprepared"]
    assert (made.unprepared, made.ok, made.steps, exit_code(made)) == (True, False, None, 0)
    assert not (recipe.parent / "ws").exists()


def test_other_errors_are_told_with_it_and_nothing_is_prepared(recipe: Path):
    ended = launched(recipe, "--set", "args.network_dimm=4")
    assert (ended.returncode, "args.unknown" in ended.stdout) == (3, True)
    assert versions(recipe) == []


def test_one_launch_goes_from_raw_pictures_to_a_lora(recipe: Path):
    before = {path: path.stat().st_mtime_ns for path in (recipe.parent / "raw").iterdir()}
    ended = launched(recipe, "--json")
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert record["state"] == "succeeded"
    assert {path: path.stat().st_mtime_ns for path in (recipe.parent / "raw").iterdir()} == before
    made = planned(recipe)
    assert (made.unprepared, len(made.scans[0].images), made.steps and made.steps.total) == (False, 4, 8)
    assert [image.size for image in made.scans[0].images] == [(64, 64)] * 4
    assert [image.caption and image.caption.text for image in made.scans[0].images] == [
        f"sprite {number}" for number in range(4)
    ]
    assert versions(recipe) == ["001"]


def test_a_changed_picture_makes_a_new_version_of_what_did_not_change(recipe: Path):
    assert prepared(recipe) == []
    first = recipe.parent / "ws" / "prepared" / "sprites" / "001"
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    sprite(16, 16, 9).save(recipe.parent / "raw" / "1.gif")
    assert planned(recipe).unprepared
    assert prepared(recipe) == []
    assert versions(recipe) == ["001", "002"]
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    second = first.with_name("002")
    assert (second / "2.png").stat().st_ino == (first / "2.png").stat().st_ino
    assert (second / "1.png").read_bytes() != (first / "1.png").read_bytes()
    assert planned(recipe).scans[0].source.folder == second


def test_other_settings_make_a_new_version_and_the_old_ones_find_theirs_again(recipe: Path):
    assert prepared(recipe) == []
    assert planned(recipe, "datasets.0.prepare.size=128").unprepared
    assert prepared(recipe, "datasets.0.prepare.size=128") == []
    assert versions(recipe) == ["001", "002"]
    assert planned(recipe).scans[0].source.folder.name == "001"


def test_without_the_raw_pictures_the_version_is_enough(recipe: Path):
    assert prepared(recipe) == []
    shutil.rmtree(recipe.parent / "raw")
    made = planned(recipe)
    assert (made.ok, made.scans[0].source.folder.name) == (True, "001")
    assert [one.code for one in planned(recipe, "datasets.0.prepare.crop=true").findings if "missing" in one.code] == [
        "dataset.missing"
    ]


def test_a_cut_version_is_finished(recipe: Path):
    cut = recipe.parent / "ws" / "prepared" / "sprites" / "001"
    cut.mkdir(parents=True)
    (cut / ".manifest.jsonl").write_text('["picture", {"file"')
    assert prepared(recipe) == []
    assert versions(recipe) == ["001"]


def test_class_images_that_are_as_they_should_be_are_no_error_meanwhile(recipe: Path):
    shutil.copytree(recipe.parent / "raw", recipe.parent / "class")
    (recipe.parent / "class" / "c.png").write_bytes((recipe.parent / "raw" / "0.jpg").read_bytes())
    text = RECIPE.replace("args:", "  - {images: class, concept: thing, regularization: true}\nargs:")
    recipe.write_text(text)
    assert planned(recipe).unprepared


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("prepare: {style: paintings}", "recipe.value"),
        ("prepare: {background: nocolour}", "recipe.value"),
        ("prepare: {colour: red}", "recipe.unknown_key"),
        ("prepare: {}\n    conditioning: raw", "recipe.value"),
    ],
)
def test_what_cannot_be_prepared_is_told(recipe: Path, said: str, code: str):
    recipe.write_text(RECIPE.replace("prepare: {style: pixel_art}", said))
    made = planned(recipe)
    assert code in [one.code for one in made.findings]
    assert not made.unprepared


def captioned(recipe: Path, template: str, more: str = "") -> None:
    for text in (recipe.parent / "raw").glob("[!0].txt"):  # 0 keeps the one that a person wrote
        text.unlink()
    line = f'caption: {{template: "{template}"{more}}}\n'
    recipe.write_text(RECIPE.replace("args:", f"    {line}args:", 1))


def texts(recipe: Path, version: str) -> list[str]:
    folder = recipe.parent / "ws" / "prepared" / "sprites" / version
    return [(folder / f"{number}.txt").read_text().strip() for number in range(4)]


def test_captions_are_made_after_the_pictures_and_a_persons_stays(recipe: Path):
    captioned(recipe, "sprite {{ width }}, {{ words or stem }}")
    ended = launched(recipe, "--json")
    assert ended.returncode == 0, ended.stderr
    assert texts(recipe, "001") == ["sprite 0", *(f"sprite 64, {number}" for number in (1, 2, 3))]
    made = planned(recipe)
    assert [image.caption and image.caption.text for image in made.scans[0].images] == texts(recipe, "001")


def test_another_template_makes_a_new_version_and_leaves_the_old_one(recipe: Path):
    captioned(recipe, "old {{ stem }}")
    assert prepared(recipe) == []
    captioned(recipe, "new {{ stem }}")
    assert planned(recipe).unprepared
    assert prepared(recipe) == []
    assert texts(recipe, "001") == ["sprite 0", "old 1", "old 2", "old 3"]
    assert texts(recipe, "002") == ["sprite 0", "new 1", "new 2", "new 3"]


def test_a_caption_that_is_missing_is_made_by_the_next_launch(recipe: Path):
    captioned(recipe, "old {{ stem }}")
    assert prepared(recipe) == []
    (recipe.parent / "ws" / "prepared" / "sprites" / "001" / "2.txt").unlink()
    assert planned(recipe).unprepared
    assert prepared(recipe) == []
    assert (texts(recipe, "001")[2], versions(recipe)) == ("old 2", ["001"])


def test_a_changed_picture_is_captioned_anew(recipe: Path):
    captioned(recipe, "has {{ palette[0] }}")
    assert prepared(recipe) == []
    first = texts(recipe, "001")
    PIL.Image.new("RGB", (16, 16), "#123456").save(recipe.parent / "raw" / "1.gif")
    assert prepared(recipe) == []
    assert texts(recipe, "001") == first
    assert texts(recipe, "002") == [first[0], "has #123456", *first[2:]]


def test_an_empty_caption_stops_the_launch_and_the_next_one_goes_on(recipe: Path):
    captioned(recipe, "{{ ' ' }}")
    ended = launched(recipe)
    assert (ended.returncode, "caption.failed" in ended.stdout + ended.stderr) == (6, True)
    assert planned(recipe).unprepared


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("endpoint: https://example.org/v1, model: m", "send the pictures of datasets.0 to https://example.org/v1"),
        ("tagger: wd14", "fetch and run its model for the captions of datasets.0 (wd14)"),
    ],
)
def test_a_model_that_captions_needs_a_word(recipe: Path, said: str, told: str):
    recipe.write_text(RECIPE.replace("args:", f"    caption: {{{said}}}\nargs:", 1))
    made = planned(recipe)
    assert [one.code for one in made.findings if one.severity.value == "error"] == ["recipe.trust"]
    assert any(told in one.message for one in made.findings)
    assert not made.unprepared
    trusted = Request(recipe, (), workspace=made.request.workspace, practice=True, trust=("datasets.caption",))
    assert make_plan(trusted, environ={"HOME": str(recipe.parent)}).unprepared


def test_a_new_version_asks_only_for_what_changed_and_leaves_the_old_answers(recipe: Path):
    raw_png(recipe)
    with chat_server(said("a thing")) as server:
        alone(recipe, f"{{endpoint: {server.url}, model: m}}")

        def make() -> None:
            made = planned(recipe)
            list(make_versions(made.loaded, made.workspace, None, lambda told: partial(ask, told, "")))

        make()
        first = recipe.parent / "ws" / "prepared" / "sprites" / "001" / "answers.jsonl"
        before = first.read_bytes()
        assert (len(server.requests), len(before.splitlines())) == (3, 3)
        PIL.Image.new("RGB", (64, 64), "#123456").save(recipe.parent / "raw" / "1.png")
        make()
        second = first.parent.with_name("002") / "answers.jsonl"
        assert (len(server.requests), len(second.read_bytes().splitlines())) == (4, 4)
        assert first.read_bytes() == before
    assert texts(recipe, "002") == ["sprite 0", *["a thing"] * 3]


def test_a_launch_that_is_killed_while_it_captions_goes_on_with_the_rest(recipe: Path):
    with ZipFile(recipe.parent / "sprites.zip", "w") as archive:
        for path in raw_png(recipe).iterdir():
            archive.write(path, path.name)
    answers = recipe.parent / "ws" / "prepared" / "sprites" / "001" / "answers.jsonl"
    argv = (sys.executable, "-m", "kohya_runner", "launch", str(recipe), "--workspace", str(recipe.parent / "ws"))
    with chat_server(said("one"), said("two"), "hang") as server:
        alone(recipe, f"{{endpoint: {server.url}, model: m, concurrency: 1, overwrite: true}}", "sprites.zip")
        recipe.write_text(recipe.read_text().replace("caption: {", "prepare: {keep_near: true}\n    caption: {"))
        killed = subprocess.Popen((*argv, "--practice", "--trust=datasets.caption"), stdout=subprocess.DEVNULL)
        while killed.poll() is None and not (answers.is_file() and len(answers.read_bytes().splitlines()) == 2):
            time.sleep(0.05)
        assert killed.poll() is None
        killed.kill()
        killed.wait()
        server.answers[:] = [said("three")]
        ended = launched(recipe, "--trust=datasets.caption")
        assert ended.returncode == 0, ended.stdout + ended.stderr
    made = {path.stem: path.read_text().strip() for path in answers.parent.glob("*.txt")}
    assert sorted(made.values()) == ["one", "three", "three", "two"]
    assert versions(recipe) == ["001", "unzipped"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("repeats: 2", "repeats: 2\n    captions: {extension: .caption}"),
        ("caption_extension: .txt", "caption_extension: .caption"),
    ],
)
def test_captions_that_the_trainer_would_not_look_for_are_told_first(recipe: Path, old: str, new: str):
    recipe.write_text(RECIPE.replace("args:", "    caption: {template: a}\nargs:", 1).replace(old, new))
    (found,) = [one for one in planned(recipe).findings if one.code == "recipe.value"]
    assert "looks for .caption" in found.message


def test_blip_is_refused_with_the_reason(recipe: Path):
    recipe.write_text(RECIPE.replace("args:", "    caption: {tagger: blip}\nargs:", 1))
    (found,) = [one for one in planned(recipe).findings if one.code == "recipe.value"]
    assert "transformers took away in 4.50" in found.message
    assert "take git or wd14" in found.message


@pytest.mark.parametrize("said", ["caption: {}", "caption: {template: a, tagger: wd14}"])
def test_one_makes_the_captions(recipe: Path, said: str):
    recipe.write_text(RECIPE.replace("args:", f"    {said}\nargs:", 1))
    assert "recipe.value" in [one.code for one in planned(recipe).findings]


def alone(recipe: Path, caption: str, images: str = "raw") -> None:
    """A recipe that captions and does not prepare."""
    text = RECIPE.replace("prepare: {style: pixel_art}", f"caption: {caption}")
    recipe.write_text(text.replace("images: raw", f"images: {images}"))


def raw_png(recipe: Path) -> Path:
    raw = recipe.parent / "raw"
    for path in [*raw.glob("*.gif"), *raw.glob("[!0].txt")]:
        path.unlink()
    sprite(16, 16, 0).resize((64, 64), RESAMPLING.NEAREST).save(raw / "0.jpg")
    for number in (1, 2, 3):
        PIL.Image.new("RGB", (64, 64), (number * 60, 9, 9)).save(raw / f"{number}.png")
    return raw


def test_captions_alone_make_a_version_of_the_pictures_as_they_are(recipe: Path):
    raw = raw_png(recipe)
    shutil.copy(raw / "1.png", raw / "2.png")  # a copy is as welcome as it is without captions
    alone(recipe, '{template: "has {{ palette[0] }}"}')
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.iterdir()}
    ended = launched(recipe, "--json")
    assert ended.returncode == 0, ended.stderr
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.iterdir()} == before
    assert texts(recipe, "001") == ["sprite 0", "has #3c0909", "has #3c0909", "has #b40909"]
    made = planned(recipe)
    version = made.scans[0].source.folder
    assert (made.unprepared, version.name) == (False, "001")
    assert {image.path.name: image.path.read_bytes() for image in made.scans[0].images} == {
        path.name: path.read_bytes() for path in raw.iterdir() if path.suffix != ".txt"
    }
    (raw / "3.txt").write_text("by hand")
    assert planned(recipe).unprepared
    assert prepared(recipe) == []
    assert texts(recipe, "002") == ["sprite 0", "has #3c0909", "has #3c0909", "by hand"]
    assert texts(recipe, "001")[3] == "has #b40909"


def test_what_the_trainer_does_not_read_is_set_aside_with_the_line_to_write(recipe: Path):
    for text in (recipe.parent / "raw").glob("*.txt"):
        text.unlink()
    alone(recipe, "{template: a}")
    made = planned(recipe)
    found = list(make_versions(made.loaded, made.workspace, None, lambda told: by_template(told.template or "")))
    assert [one.code for one in found] == ["image.set_aside"] * 3
    assert "`prepare: {}` converts it" in found[0].message
    assert [image.path.name for image in planned(recipe).scans[0].images] == ["0.jpg"]


def zipped(recipe: Path, colour: str = "#123456") -> Path:
    file = recipe.parent / "sprites.zip"
    PIL.Image.new("RGB", (16, 16), colour).save(recipe.parent / "raw" / "1.gif")
    with ZipFile(file, "w") as archive:
        for path in sorted((recipe.parent / "raw").iterdir()):
            archive.write(path, f"10_sprites/{path.name}" if path.suffix == ".jpg" else f"all/{path.name}")
        archive.writestr("all/readme.md", "drawn by hand")
    return file


def test_a_zip_file_is_unpacked_prepared_and_captioned(recipe: Path):
    captioned(recipe, "{{ folder }} {{ stem }}, {{ palette[0] }}")
    recipe.write_text(recipe.read_text().replace("images: raw", "images: sprites.zip"))
    before = zipped(recipe).read_bytes()
    shutil.rmtree(recipe.parent / "ws", ignore_errors=True)
    ended = launched(recipe, "--json")
    assert ended.returncode == 0, ended.stderr
    assert texts(recipe, "001")[1] == "sprites 1, #123456"
    assert (recipe.parent / "sprites.zip").read_bytes() == before
    made = planned(recipe)
    assert ([image.size for image in made.scans[0].images], made.unprepared) == ([(64, 64)] * 4, False)
    os.utime(recipe.parent / "sprites.zip", (1, 1))
    assert planned(recipe).unprepared
    zipped(recipe, "#654321")
    assert prepared(recipe) == []
    assert [texts(recipe, number)[1] for number in ("001", "002")] == ["sprites 1, #123456", "sprites 1, #654321"]
    (recipe.parent / "sprites.zip").unlink()
    assert planned(recipe).scans[0].source.folder.name == "002"


@pytest.mark.parametrize("name", ["gone.zip", "gone", "broken.zip"])
def test_a_zip_file_that_is_none_is_told(recipe: Path, name: str):
    (recipe.parent / "broken.zip").write_bytes(b"PK\x03\x04 cut")
    alone(recipe, "{template: a}", name)
    ended = launched(recipe)
    assert ended.returncode == 6 if name == "broken.zip" else 4
    assert (
        "is not a whole zip file" if name == "broken.zip" else "no such folder or zip file"
    ) in ended.stdout + ended.stderr


def test_a_zip_file_alone_needs_a_word(recipe: Path):
    zipped(recipe)
    recipe.write_text(
        RECIPE.replace("    prepare: {style: pixel_art}\n", "").replace("images: raw", "images: sprites.zip")
    )
    (found,) = [one for one in planned(recipe).findings if one.code == "dataset.missing"]
    assert "prepare: {}" in found.hint
