from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kohya_runner.commands.cli import main
from kohya_runner.commands.new import recipe_schema, schema_text

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_in_the_readme_and_has_help(name: str):
    assert f"kohya-runner {name}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert main.commands[name].help


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_to_a_file_leads_to_one(page: Path):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_readmes_pictures_are_there_and_small():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(shown) >= 3
    for name in shown:
        assert (ROOT / name).stat().st_size < 300_000, name


def test_the_readme_names_the_five_things_in_their_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [text.index(f"**{name}.**") for name in ("Recipe", "Pictures", "Plan", "Launch", "Compare")]
    assert places == sorted(places)
    assert text.index("## Install") < places[0]
    assert "pipx install ." in text[: places[0]]


def test_the_committed_schema_is_the_one_of_the_models():
    assert (ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_schema_knows_the_trainers_options_but_not_the_runners():
    args = recipe_schema()["properties"]["args"]["properties"]
    assert args["cache_latents"] == {"type": ["boolean", "null"]}
    assert "bf16" in args["mixed_precision"]["enum"]
    assert "output_dir" not in args
    assert "clip_l" not in args
    assert len(args) > 190


def test_the_schema_is_plain_json():
    assert json.loads(schema_text())["$schema"].startswith("https://json-schema.org/")


def test_every_environment_variable_of_ours_is_documented():
    used = set()
    for path in [*(ROOT / "kohya_runner").rglob("*.py"), *(ROOT / "runpod").glob("*.sh")]:
        used |= set(re.findall(r"\b(KOHYA_(?:RUNNER_)?[A-Z_]+)\b", path.read_text(encoding="utf-8")))
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in used if name not in pages} == set()
