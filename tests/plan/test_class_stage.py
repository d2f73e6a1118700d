"""``class_prompt`` and ``num_class_images``: counted before they are there, painted by one command, into no source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.dataset.survey import is_planned
from kohya_runner.engines.sd_scripts.painter import OTHERS
from kohya_runner.errors import PreflightError
from kohya_runner.findings import Severity
from kohya_runner.plan.commands import stages
from kohya_runner.plan.report import plan_json, rows
from kohya_runner.run.class_painting import with_class_images

ASKED = ('datasets.1.class_prompt="a photo of a dog"', "datasets.1.num_class_images=7")


def errors(plan) -> list[str]:
    return [f"{f.code}: {f.message}" for f in plan.findings if f.severity is Severity.ERROR]


def images(index: int, folder) -> str:
    return f"datasets.{index}.images={json.dumps(str(folder))}"


@pytest.fixture
def subject(pictures):
    return images(0, pictures(3))


def test_the_pictures_that_are_missing_are_counted_as_if_they_were_there(planned, pictures, subject):
    plan = planned("sd15_dreambooth.yaml", subject, images(1, pictures(3, name="class")), *ASKED)
    assert errors(plan) == []
    assert plan_json(plan)["dataset"]["images"] == 3 + 3 + 4
    assert plan.steps.regularization_images == 7
    assert plan.steps.regularization_used == 30


def test_without_a_folder_all_of_them_are_painted(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    assert errors(plan) == []
    (stage,) = stages(plan)
    assert len(stage.missing) == 7
    assert plan.workspace.root / "class_images" in stage.images.folder.parents


def test_the_painting_is_the_first_command_of_the_plan_and_the_training_the_last(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    first, last = plan_json(plan)["commands"]
    assert first["argv"][1] == "gen_img.py"
    assert "--v1" in first["argv"]
    assert "train_db.py" in last["argv"]
    assert any("7 to be painted first" in text for _, text in rows(plan))
    (told,) = [f for f in plan.findings if f.code == "dataset.class_images"]
    assert told.severity is Severity.INFO
    assert "no time estimate" in told.hint


def test_each_line_of_the_prompt_file_has_a_seed_and_a_name_of_its_own(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    (stage,) = stages(plan)
    lines = stage.told.splitlines()
    assert lines[3] == "a photo of a dog --w 512 --h 512 --s 30 --l 7.5 --d 3 --f class_000003.png"
    assert len(set(lines)) == 7


def test_enough_pictures_in_the_folder_are_enough(planned, pictures, subject):
    plan = planned("sd15_dreambooth.yaml", subject, images(1, pictures(7, name="class")), *ASKED)
    assert errors(plan) == []
    assert stages(plan) == ()
    assert len(plan_json(plan)["commands"]) == 1


def test_what_was_painted_before_is_not_painted_again(planned, subject):
    recipe = ("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    (stage,) = stages(planned(*recipe))
    stage.images.folder.mkdir(parents=True)
    for name in ("class_000000.png", "class_000005.png"):
        Image.new("RGB", (512, 512)).save(stage.images.folder / name)
    (again,) = stages(planned(*recipe))
    assert len(again.missing) == 5
    assert not {"class_000000.png", "class_000005.png"} & set(again.missing)


@pytest.mark.parametrize(
    "change", ['datasets.1.class_prompt="a cat"', "args.resolution=768", "model=other/model", "args.clip_skip=2"]
)
def test_another_prompt_size_or_model_is_another_folder(planned, subject, change):
    recipe = ("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    folders = {stages(planned(*recipe, *more))[0].images.folder for more in ((), (change,))}
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (('datasets.1.class_prompt="a dog"',), "num_class_images is missing"),
        (("datasets.1.num_class_images=4",), "class_prompt is missing"),
        (('datasets.0.class_prompt="a dog"', "datasets.0.num_class_images=4"), "are for class images"),
        (
            ('datasets.1.class_prompt="a dog --s 100"', "datasets.1.num_class_images=4"),
            "options to the scripts that paint",
        ),
        (
            ('datasets.1.class_prompt="a {red|blue} dog"', "datasets.1.num_class_images=4"),
            "options to the scripts that paint",
        ),
    ],
)
def test_the_two_keys_belong_together_and_to_class_images(planned, pictures, subject, overrides, said):
    plan = planned("sd15_dreambooth.yaml", subject, images(1, pictures(3, name="class")), *overrides)
    assert any(said in line for line in errors(plan))


def test_a_family_whose_script_makes_one_picture_a_start_is_refused_with_the_reason(planned, subject):
    entry = '{"concept": "dog", "regularization": true, "class_prompt": "a dog", "num_class_images": 3}'
    folder = subject.partition("=")[2]
    plan = planned("hunyuan_image_lora.yaml", f'datasets=[{{"concept": "cat", "images": {folder}}}, {entry}]')
    assert any("can be painted" in line for line in errors(plan))


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_are_painted_by_their_own_script_whose_questions_are_answered(planned, subject, family):
    plan = planned(f"{family}_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    (stage,) = stages(plan)
    told = json.loads(stage.told)
    worker, jobs, script = stage.command.argv[1:4]
    assert (Path(worker).name, jobs) == ("paint_worker.py", str(stage.file))
    assert script.endswith(f"{family}_minimal_inference.py")
    assert "--interactive" in stage.command.argv
    assert not any(token.startswith("--lora_weight") for token in stage.command.argv)
    assert [cell["key"] for cell in told["cells"]] == [name.removesuffix(".png") for name in stage.missing]
    assert {cell["weights"] for cell in told["cells"]} == {None}
    assert len({cell["line"] for cell in told["cells"]}) == 7
    assert all(cell["line"].startswith("a photo of a dog --w ") and "--m" not in cell["line"] for cell in told["cells"])


def test_an_entry_without_pictures_and_without_the_keys_lacks_its_pictures(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null")
    assert any("datasets.1.images" in line and "missing" in line for line in errors(plan))


def test_a_practice_run_paints_nothing_and_says_so(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED, practice=True)
    assert stages(plan) == ()
    with pytest.raises(PreflightError) as caught:
        with_class_images(plan, None, {})
    assert "7 class images are missing, and a practice run paints nothing" in caught.value.message


def test_a_plan_made_before_the_painting_is_made_anew_after_it(planned, subject):
    plan = planned("sd15_dreambooth.yaml", subject, "datasets.1.images=null", *ASKED)
    (stage,) = stages(plan)
    stage.images.folder.mkdir(parents=True)
    for number, name in enumerate(stage.missing):
        Image.new("RGB", (512, 512), (number, 9, 9)).save(stage.images.folder / name)
    new = with_class_images(plan, None, {"HOME": str(plan.workspace.root), "PATH": "/usr/bin:/bin"})
    assert new is not plan
    assert not any(is_planned(image) for scan in new.scans for image in scan.images)
    assert with_class_images(new, None, {}) is new
