"""What a recipe asks for besides the requirements: installed into the environment of setup, never into another."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from kohya_runner.commands.cli import main
from kohya_runner.errors import RecipeError, TrainerError
from kohya_runner.install.checkout import TrainerPython
from kohya_runner.install.environment import add_packages
from kohya_runner.install.probe import lacking
from kohya_runner.plan.consent import is_of_the_field
from kohya_runner.plan.pipeline import recipe_packages
from kohya_runner.text import package_name

RECIPE = """
name: one
family: sd15
model: {{random: sd15}}
datasets: [{{images: ., concept: x}}]
args: {{network_module: networks.lora, resolution: 64}}
launch: {{packages: {packages}}}
"""


def wheel(folder: Path, name: str, version: str) -> None:
    """A package of one empty module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("an odd 'place") / "venv"
    subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    (folder / "constraints.txt").write_text("made_up==1.0\nother==3\n", encoding="utf-8")
    return folder / "bin" / "python"


def test_what_is_missing_is_installed_and_the_second_time_nothing_is(python: Path, tmp_path: Path):
    wheel(tmp_path, "made_up", "2.0")
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "HOME": str(tmp_path)}
    own, said = TrainerPython(python, "kohya-runner setup", own=True), []
    for _ in range(2):
        add_packages(own, ("made_up==2.0",), home=tmp_path, environ=environ, say=said.append)
    assert said == ["installing made_up==2.0"]
    subprocess.run((str(python), "-c", "import made_up"), check=True)
    assert "other==3" in (python.parents[1] / "constraints.txt").read_text(encoding="utf-8")


def test_an_environment_without_limits_gets_them_too(python: Path, tmp_path: Path):
    wheel(tmp_path, "made_up_as_well", "1.0")
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "HOME": str(tmp_path)}
    (python.parents[1] / "constraints.txt").unlink(missing_ok=True)
    own = TrainerPython(python, "kohya-runner setup", own=True)
    add_packages(own, ("made_up_as_well==1.0",), home=tmp_path, environ=environ, say=str)
    subprocess.run((str(python), "-c", "import made_up_as_well"), check=True)


def test_a_python_of_somebody_is_not_changed(python: Path, tmp_path: Path):
    with pytest.raises(TrainerError, match=r"python: names .* which lacks nothing_of_it==1") as raised:
        add_packages(TrainerPython(python, "python:"), ("nothing_of_it==1",), home=tmp_path, environ={}, say=str)
    assert raised.value.hint.endswith("-m pip install nothing_of_it==1")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("lycoris-lora==4.1.3", True), ("Lycoris_LoRA==4.1.3", True), ("prodigyopt==1.1.2", True), ("evil==1.0", False),
        ("lycoris-lora", False), ("lycoris-lora>=4", False), ("lycoris-lora==4.*", False),
        ("lycoris-lora==4.1.3,!=4.1.4", False), ("lycoris-lora[kernels]==4.1.3", False),
        ("lycoris-lora @ https://example.org/x.whl", False), ("lycoris-lora==4.1.3; python_version > '3'", False),
    ],
)  # fmt: skip
def test_only_one_version_of_a_package_of_the_field_needs_no_word(text, plain):
    assert is_of_the_field(text) is plain


def test_versions_are_compared_as_pip_does():
    versions = {"a": "1.0.0", "b": None, "c": "2.0rc1"}
    assert lacking(("a==1.0", "b==1", "c>=1", "d"), versions) == ("b==1", "d")
    assert package_name("lycoris-lora==4.1.3") == "lycoris-lora"


def test_set_up_refuses_a_package_that_nobody_allowed(tmp_path: Path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(RECIPE.format(packages="[lycoris-lora==4.1.3, evil==1]"), encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        recipe_packages(recipe, (), ())
    assert [finding.code for finding in raised.value.findings] == ["recipe.trust"]
    allowed = recipe_packages(recipe, (), ("launch.packages=evil==1",))
    assert allowed == ("sd-scripts", ("lycoris-lora==4.1.3", "evil==1"))
    done = CliRunner().invoke(main, ["setup", "--recipe", str(recipe)])
    assert done.exit_code == 3
    assert "install evil==1 into the trainer's Python" in done.output
