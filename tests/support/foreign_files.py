"""Foreign files for the tests of the import: the kept set-ups, and files written on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kohya_runner.importing.paths import Places, read_maps
from kohya_runner.importing.reading import classify, read
from kohya_runner.importing.recipe import writer
from kohya_runner.importing.setup import Setup
from kohya_runner.plan.value import Plan
from kohya_runner.recipe.load import Loaded, load

CASES = Path(__file__).with_name("foreign")
PATHS = {
    "pretrained_model_name_or_path", "train_data_dir", "output_dir", "output_name", "logging_dir", "clip_l", "clip_g",
    "t5xxl", "ae", "vae", "dataset_config", "reg_data_dir", "save_model_as", "sample_prompts", "in_json",
    "dataset_repeats",
}  # fmt: skip
"""What is a path or a name, and the format that the runner always states."""


def case_files(case: str) -> list[Path]:
    return sorted(path for path in (CASES / case).iterdir() if path.name != "expect.json")


def expected(case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / case / "expect.json").read_text(encoding="utf-8"))
    return found


def read_files(*paths: Path, script: str | None = None) -> Setup:
    return read([classify(path, path.read_bytes()) for path in paths], script)


def recipe_of(output: Path, *paths: Path, base: Path | None = None, maps: tuple[str, ...] = ()) -> Setup:
    """Writes the recipe of these files; what was read of them."""
    setup = read_files(*paths)
    places = Places(paths[0].absolute().parent, output.absolute().parent, base, read_maps(maps))
    output.write_text(writer(setup, places).text("recipe.yaml"), encoding="utf-8")
    return setup


@pytest.fixture
def foreign(odd_path: Path):
    """Writes a foreign file and imports it: the recipe as it loads, and the set-up with its notes."""

    def make(content: str | dict[str, Any], name: str = "given", **choices: Any) -> tuple[Loaded, Setup]:
        path, output = odd_path / name, odd_path / "recipe.yaml"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        setup = recipe_of(output, path, **choices)
        return load(output, environ={}), setup

    return make


def told(setup: Setup, key: str) -> str:
    return " ".join(note.text for note in setup.notes if key in note.key)


def training_tokens(plan: Plan) -> list[str]:
    """The options of the script in a plan's command."""
    assert plan.command is not None
    argv = list(plan.command.argv)
    return argv[max(index for index, word in enumerate(argv) if word.endswith(".py")) + 1 :]


def different(read: dict[str, Any], defaults: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Option -> (what is read, what it must be), paths aside."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in read.items()}
    meant = {name: wanted.get(name, defaults[name]) for name in plain}
    return {name: (plain[name], meant[name]) for name in plain if name not in PATHS and plain[name] != meant[name]}
