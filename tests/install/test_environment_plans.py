from __future__ import annotations

import re
from pathlib import Path

import pytest

from kohya_runner.install.probe import (
    BITSANDBYTES,
    TESTED,
    PythonFacts,
    image_set,
    missing,
    plan_environment,
    requirement_lines,
    requirement_names,
)

REQUIREMENTS = """\
accelerate==1.6.0
diffusers[torch]==0.32.1
# albumentations==1.3.0
opencv-python==4.10.0.84
numpy
# <=2.0
# for kohya_ss library
-e ."""


def python(version: str = "3.11.7", *, venv: bool = False, path: str = "/usr/bin/python3", **packages: str | None):
    return PythonFacts(Path(path), Path(path), version, venv, packages)


def plan(*candidates: PythonFacts):
    return plan_environment(candidates, REQUIREMENTS, has_libgl=True)


def test_the_editable_install_is_left_out():
    assert requirement_lines(REQUIREMENTS) == (
        "accelerate==1.6.0", "diffusers[torch]==0.32.1", "opencv-python==4.10.0.84", "numpy",
    )  # fmt: skip


def test_without_libgl_opencv_is_the_headless_build_of_the_same_version():
    assert "opencv-python-headless==4.10.0.84" in requirement_lines(REQUIREMENTS, has_libgl=False)


def test_names_carry_neither_version_nor_extra():
    assert requirement_names(REQUIREMENTS) == ("accelerate", "diffusers", "opencv-python", "numpy")


def test_a_headless_opencv_counts_as_opencv():
    assert missing(python(**{"opencv-python-headless": "4.10.0.84"}), ("opencv-python", "numpy")) == ("numpy",)


def test_the_images_torch_is_kept_to_the_last_letter():
    made = plan(python(torch="2.6.0+cu126", torchvision="0.21.0+cu126"))
    assert made is not None
    assert made.image_torch
    assert made.torch == ()
    assert made.constraints[:2] == ("torch==2.6.0+cu126", "torchvision==0.21.0+cu126")
    assert made.xformers == "xformers==0.0.29.post3"


def test_the_images_torch_wins_over_an_earlier_python():
    made = plan(python(path="/a/python"), python(path="/b/python", torch="2.8.0+cu128", torchvision="0.23.0+cu128"))
    assert made is not None
    assert made.base == Path("/b/python")


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(python(torch="2.13.0", torchvision="0.28.0"), id="torch without a known xformers"),
        pytest.param(python(torch="2.8.0", torchvision=None), id="no torchvision"),
        pytest.param(python(torch="2.8.0", torchvision="0.23.0", venv=True), id="torch of a venv"),
        pytest.param(python("3.13.0", torch="2.8.0", torchvision="0.23.0"), id="python too new"),
    ],
)
def test_a_torch_that_does_not_fit_is_not_used(facts):
    assert image_set(facts) is None


def test_without_a_torch_the_tested_set_is_installed():
    made = plan(python())
    assert made is not None
    assert made.torch == (f"torch=={TESTED.torch}", f"torchvision=={TESTED.torchvision}")
    assert not made.image_torch


def test_python_3_13_and_3_9_are_passed_over():
    made = plan(python("3.13.0"), python("3.9.2"), python("3.12.1", path="/c/python"))
    assert made is not None
    assert made.base == Path("/c/python")


def test_no_fitting_python_is_no_plan():
    assert plan(python("3.13.0")) is None


def test_the_stamp_changes_with_the_requirements_and_with_torch():
    stamps = {
        made.stamp
        for made in (
            plan(python()),
            plan(python(torch="2.6.0", torchvision="0.21.0")),
            plan_environment((python(),), "numpy", has_libgl=True),
        )
        if made
    }
    assert len(stamps) == 3


def test_the_tested_set_is_the_train_extra_of_the_project():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extra = dict(pair.split("==") for pair in re.findall(r'"([^"]+)"', text.split("\ntrain = [")[1].split("]")[0]))
    assert (extra["torch"], extra["torchvision"], extra["xformers"]) == (
        TESTED.torch,
        TESTED.torchvision,
        TESTED.xformers,
    )
    assert extra["bitsandbytes"] == BITSANDBYTES
