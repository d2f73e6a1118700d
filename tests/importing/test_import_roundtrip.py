"""Any command line that the trainer's parser takes, written in four forms, comes back as the same options."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_files import PATHS
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import recipe_args

from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.arguments import PATHS as PATH_OPTIONS
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import FAMILIES, options_for
from kohya_runner.importing.paths import Places
from kohya_runner.importing.reading import classify, read
from kohya_runner.importing.recipe import writer
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.options.snapshot import scripts
from kohya_runner.options.values import tokens
from kohya_runner.recipe.load import load

SCRIPTS = [name for name in scripts(SD_SCRIPTS) if any(row.script == name for row in FAMILIES)]
ELSEWHERE = {*OWNED, *PATH_OPTIONS, *PATHS, *(c.flag for row in FAMILIES for c in row.components), "v2"}
"""Options that become other keys of a recipe, or paths."""


def as_sh(script: str, argv: list[str]) -> str:
    return f"accelerate launch {script} \\\n  " + " \\\n  ".join(map(shlex.quote, argv)) + "\n"


def as_bat(script: str, argv: list[str]) -> str:
    words = [subprocess.list2cmdline([word]).replace("%", "%%") for word in argv]
    quoted = [word if word.startswith('"') else f'"{word}"' if '"' not in word else word for word in words]
    return "@echo off\r\n" + " ^\r\n  ".join([f"python {script}", *quoted]) + "\r\n"


def as_ps1(script: str, argv: list[str]) -> str:
    words = ["'" + word.replace("'", "''") + "'" for word in argv]
    return " `\n  ".join([f"python {script}", *words]) + "\n"


FORMS: dict[str, Callable[[str, list[str]], str]] = {".sh": as_sh, ".bat": as_bat, ".ps1": as_ps1}


def came_back(folder: Path, suffix: str, text: str, script: str) -> dict[str, Any]:
    """The options of the recipe that was made, as the script's parser reads them."""
    path, output = folder / f"given{suffix}", folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    setup = read([classify(path, path.read_bytes())], script if suffix == ".toml" else None)
    output.write_text(writer(setup, Places(folder, folder)).text("recipe.yaml"), encoding="utf-8")
    loaded = load(output, environ={})
    assert [one.message for one in loaded.findings] == []
    options = options_for(script, None)
    argv = [token for name, value in loaded.args.items() for token in tokens(options[name], value)]
    return vars(argparse_parser(options, whole=False).parse_args(argv))


def meant(script: str, said: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    options = options_for(script, None)
    argv = [token for name, value in said.items() for token in tokens(options[name], value)]
    return argv, vars(argparse_parser(options, whole=False).parse_args(argv))


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    script = draw(st.sampled_from(SCRIPTS))
    said = draw(recipe_args(options_for(script, None)))
    return script, {name: value for name, value in said.items() if name not in ELSEWHERE}


@pytest.mark.parametrize("suffix", FORMS)
@settings(max_examples=40, deadline=None)
@given(drawn=command_lines())
def test_a_command_line_comes_back_from_a_script(suffix, drawn, tmp_path_factory):
    script, said = drawn
    argv, wanted = meant(script, said)
    assert came_back(tmp_path_factory.mktemp("x"), suffix, FORMS[suffix](script, argv), script) == wanted


@settings(max_examples=40, deadline=None)
@given(drawn=command_lines())
def test_a_command_line_comes_back_from_toml(drawn, tmp_path_factory):
    script, said = drawn
    _, wanted = meant(script, said)
    rows = {name: wanted[name] for name in said if wanted[name] not in ("", [], None)}
    text = "[any]\n" + "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in rows.items())
    absent = {name: value for name, value in meant(script, {})[1].items() if name not in rows}
    assert came_back(tmp_path_factory.mktemp("x"), ".toml", text, script) == {**wanted, **absent}
