"""The table of engines, and what else must agree with it."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from kohya_runner.engines.diffusers import DIFFUSERS
from kohya_runner.engines.musubi import MUSUBI_TUNER
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import (
    ENGINES,
    FAMILIES,
    INFOS,
    SETTINGS,
    all_scripts,
    info_of,
    options_for,
    user_settings,
)
from kohya_runner.install.checkout import Checkout, find_checkout, find_python
from kohya_runner.options.snapshot import shipped
from kohya_runner.settings import UserSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=INFOS.values(), ids=INFOS)
def engine(request: pytest.FixtureRequest):
    return request.param


def sources(folder: Path, engine) -> Path:
    for mark in engine.marks:
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).write_text("")
    return folder


def test_the_snapshot_is_of_the_pinned_commit(engine):
    assert shipped(engine).commit == engine.commit


def test_the_submodule_is_registered_with_the_engines_address(engine):
    modules = configparser.ConfigParser()
    modules.read(ROOT / ".gitmodules")
    section = modules[f'submodule "{engine.submodule}"']
    assert (section["path"], section["url"]) == (str(engine.submodule), engine.repository)


def test_the_clone_pins_the_commit_of_the_table(engine):
    command = ("git", "ls-files", "--stage", str(engine.submodule))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout:
        pytest.skip("no git clone here")
    assert done.stdout.split()[:2] == ["160000", engine.commit]


def test_the_table_names_each_engine_as_it_names_itself():
    assert {name: engine.INFO.name for name, engine in ENGINES.items()} == {name: name for name in ENGINES}


def test_no_two_engines_share_a_script():
    assert len(set(all_scripts())) == len(all_scripts())
    assert all(info_of(script) is engine for engine in INFOS.values() for script in engine.scripts)


def test_every_row_of_the_families_is_one_of_its_engine_and_has_its_script():
    for row in FAMILIES:
        assert row in ENGINES[row.engine].FAMILIES
        assert info_of(row.script) is INFOS[row.engine]
        assert len(options_for(row.script, None)) > 10


def test_the_settings_have_a_place_for_each(engine, odd_path):
    assert {engine.setting, engine.python_setting} <= set(SETTINGS)
    file = odd_path / "kohya-runner" / "config.yaml"
    file.parent.mkdir()
    file.write_text(f"{engine.setting}: a checkout\n{engine.python_setting}: ../bin/python\n", encoding="utf-8")
    settings = user_settings({"XDG_CONFIG_HOME": str(odd_path), "HOME": "/home/ann"})
    assert settings.path(engine.setting) == file.parent / "a checkout"
    assert settings.path(engine.python_setting) == odd_path / "bin" / "python"


def test_an_engine_is_found_by_its_own_variable_and_setting_alone(engine, odd_path):
    named, told = sources(odd_path / "named", engine), sources(odd_path / "told", engine)
    where = {"project": None, "home": odd_path / "home", "engine": engine}
    settings = UserSettings(odd_path / "config.yaml", {engine.setting: told})
    assert find_checkout(None, {}, settings=settings, **where) == Checkout(
        told, None, f"{engine.setting}: in {odd_path}/config.yaml", engine
    )
    found = find_checkout(None, {engine.variable: str(named)}, settings=settings, **where)
    assert found == Checkout(named, None, f"${engine.variable}", engine)
    assert find_checkout(None, {}, settings=UserSettings(odd_path / "config.yaml"), **where) is None


def test_sd_scripts_keep_their_names():
    assert (SD_SCRIPTS.variable, SD_SCRIPTS.python_variable) == ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON")
    assert (MUSUBI_TUNER.variable, DIFFUSERS.python_variable) == (
        "KOHYA_RUNNER_MUSUBI_TUNER", "KOHYA_RUNNER_DIFFUSERS_PYTHON",
    )  # fmt: skip


def test_the_option_names_sd_scripts_and_nothing_else(odd_path):
    elsewhere = sources(odd_path / "sd", SD_SCRIPTS)
    found = find_checkout(
        str(elsewhere), {}, settings=UserSettings(odd_path), project=None, home=odd_path, engine=MUSUBI_TUNER
    )
    assert found is None


def test_a_python_of_one_engine_is_none_of_another(odd_path):
    python = odd_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    environ = {"KOHYA_RUNNER_PYTHON": str(python)}
    settings = UserSettings(odd_path / "config.yaml")
    assert find_python(None, environ, settings=settings, recorded=None, engine=MUSUBI_TUNER) is None
    assert find_python(None, environ, settings=settings, recorded=None, engine=SD_SCRIPTS) is not None


def test_modules_are_imported_from_where_the_engine_keeps_them():
    assert MUSUBI_TUNER.env(Path("/a b")) == {"PYTHONPATH": "/a b/src"}
    assert MUSUBI_TUNER.script_path("x.py") == "src/musubi_tuner/x.py"
    assert SD_SCRIPTS.env(Path("/a")) == {}
    assert SD_SCRIPTS.script_path("x.py") == "x.py"
