"""Folders of pictures: kohya's parents, dataset files, and paths of another machine."""

from __future__ import annotations

import json
from pathlib import Path

from foreign_files import foreign, recipe_of, told
from PIL import Image

from kohya_runner.importing.paths import Places
from kohya_runner.recipe.load import load

__all__ = ["foreign"]


def picture(path: Path, *, caption: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), len(path.name)).save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption)


def test_a_parent_of_repeat_folders_becomes_its_datasets(odd_path, planned):
    for name, token in (("10_ohwx man", "a"), ("2_style", "bb"), ("notes", "ccc")):
        picture(odd_path / "img" / name / f"{token}.png", caption="x")
    picture(odd_path / "reg" / "1_man" / "d.png")
    (odd_path / "run.sh").write_text(
        "python train_network.py --train_data_dir img --reg_data_dir reg --resolution 64 --caption_extension .txt"
    )
    recipe_of(odd_path / "recipe.yaml", odd_path / "run.sh")
    plan = planned(odd_path / "recipe.yaml")
    folders = [(one.name, one.regularization) for one in plan.layout.folders]
    assert folders == [("10_ohwx man", False), ("2_style", False), ("1_man", True)]


def test_a_file_of_subsets_becomes_entries_with_what_differs(foreign):
    loaded, _ = foreign({
        "general": {"resolution": 512, "keep_tokens": 1},
        "datasets": [{"subsets": [
            {"image_dir": "a", "num_repeats": 3, "class_tokens": "cat", "flip_aug": True},
            {"image_dir": "b", "is_reg": True},
        ]}],
    })  # fmt: skip
    first, second = loaded.recipe.datasets
    assert (first.concept, first.repeats, first.options) == ("cat", 3, {"flip_aug": True})
    assert second.regularization
    assert loaded.args["keep_tokens"] == 1


def test_one_folder_at_several_resolutions_is_no_alarm(foreign, odd_path, planned):
    picture(odd_path / "pics" / "a.png", caption="x")
    sets = [{"resolution": size, "subsets": [{"image_dir": "pics", "class_tokens": "x"}]} for size in (64, 128)]
    foreign({"general": {"caption_extension": ".txt", "enable_bucket": True, "min_bucket_reso": 64}, "datasets": sets})
    plan = planned(odd_path / "recipe.yaml")
    assert [one.message for one in plan.findings if one.severity.value == "error"] == []
    assert not {"dataset.same_folder", "image.duplicate"} & {one.code for one in plan.findings}
    assert [json.loads(one.options)["resolution"] for one in plan.layout.folders] == [[128, 128], [64, 64]]


def test_pictures_without_captions_on_purpose(odd_path, planned):
    picture(odd_path / "pics" / "a.png")
    (odd_path / "c.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "pics"\nclass_tokens = "ohwx"\n')
    (odd_path / "c.sh").write_text("python train_network.py --dataset_config c.toml --resolution 64")
    recipe_of(odd_path / "recipe.yaml", odd_path / "c.sh", odd_path / "c.toml")
    assert "captions: none" in (odd_path / "recipe.yaml").read_text()
    assert [one.message for one in planned(odd_path / "recipe.yaml").findings if one.severity.value == "error"] == []


def test_no_caption_is_read_where_there_are_none_on_purpose(odd_path, planned):
    picture(odd_path / "pics" / "a.png", caption="not meant")
    (odd_path / "r.yaml").write_text(
        "name: a\nfamily: sd15\nmodel: a/b\nargs: {resolution: 64}\n"
        "datasets: [{images: pics, concept: ohwx, captions: none}]\n"
    )
    plan = planned(odd_path / "r.yaml")
    assert [one.message for one in plan.findings if one.severity.value == "error"] == []
    assert plan.layout.folders[0].entries[0].caption == ""


def test_paths_of_windows_are_mapped_or_looked_for(odd_path):
    (odd_path / "data" / "set one").mkdir(parents=True)
    mapped = Places(odd_path, odd_path, maps=(("E:", "/data"),))
    assert mapped.path("E:\\x\\y z") == "/data/x/y z"
    based = Places(odd_path, odd_path, base=odd_path / "data")
    assert based.path("F:\\train\\set one") == "./data/set one"
    assert based.path("/content/drive/set one") == "./data/set one"
    assert Places(odd_path, odd_path).path("E:\\x") == "E:/x"


def test_a_path_of_windows_that_nobody_mapped_is_an_error_that_says_so(foreign, odd_path, planned):
    foreign('python train_network.py --train_data_dir "E:\\my data" --resolution 64')
    assert any("E:/my data is a path of Windows" in one.message for one in planned(odd_path / "recipe.yaml").findings)


def test_a_file_of_captions_in_the_trainers_own_form(odd_path, planned):
    picture(odd_path / "pics" / "a.png")
    (odd_path / "pics" / "meta.json").write_text(json.dumps({"a": {"caption": "a cat", "tags": "soft"}}))
    (odd_path / "r.yaml").write_text(
        "name: a\nfamily: sd15\nmodel: a/b\nargs: {resolution: 64}\n"
        "datasets: [{images: pics/meta.json, concept: ohwx}]\n"
    )
    plan = planned(odd_path / "r.yaml")
    assert [one.message for one in plan.findings if one.severity.value == "error"] == []
    assert plan.layout.folders[0].entries[0].image.caption.text == "a cat,soft"


def test_keys_that_the_trainer_ignores_are_told(foreign):
    loaded, setup = foreign(
        "[a]\nmax_resolution = '512'\nresolution = 512\nresume = false\nnetwork_dim = 4\n", name="c.toml"
    )
    assert loaded.args["resolution"] == 512
    assert "ignores it" in told(setup, "max_resolution")
    assert load(loaded.path, environ={}).findings == ()
