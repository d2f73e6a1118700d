"""The worked example of CONTRIBUTING.md is one: its rows are added as they stand, and its recipe is planned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from kohya_runner.engines import sd_scripts, table
from kohya_runner.findings import Severity
from kohya_runner.options import snapshot
from kohya_runner.options.snapshot import encode, read_checkout
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.engines.protocol import Engine
    from kohya_runner.engines.support import Support

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
ENGINE, LINE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(FAMILY,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Support:
    """The family's row, with both rows in the table."""
    (tmp_path / "trainer.toml").write_text(FAMILY, encoding="utf-8")
    (rows,) = (sd_scripts.rows(*item) for item in read_table(tmp_path / "trainer.toml")["families"].items())
    lora, other = rows
    monkeypatch.setattr(table, "FAMILIES", (*table.FAMILIES, lora, other))
    return lora


def planned(root: Path, *overrides: str) -> Plan:
    pictures = root / "it's sketches"
    pictures.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (512, 512), (number, 90, 7)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text("a sketch", encoding="utf-8")
    recipe = root / "sketch_lora.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    request = Request(recipe, (f"datasets.0.images={pictures}", *overrides), workspace=str(root / "ws"), elsewhere=True)
    return make_plan(request, environ={"HOME": str(root), "PATH": "/usr/bin:/bin"})


def errors(plan: Plan) -> list[str]:
    return [str(finding) for finding in plan.findings if finding.severity is Severity.ERROR]


def test_the_family_of_the_example_is_unknown_without_its_row(tmp_path: Path):
    assert any("family: sketch is not supported" in line for line in errors(planned(tmp_path)))


def test_one_row_and_one_recipe_make_a_family(tmp_path: Path, row: Support):
    plan = planned(tmp_path)
    assert errors(plan) == []
    assert plan.command is not None
    assert row.script in plan.command.argv
    assert "--network_module=networks.lora" in plan.command.argv


def test_one_row_makes_a_method_of_it(tmp_path: Path, row: Support):
    plan = planned(tmp_path, "method=dreambooth", "args.network_dim=null")
    assert errors(plan) == []
    assert plan.command is not None
    assert "train_db.py" in plan.command.argv
    assert row.network_module
    assert not any(token.startswith("--network_module") for token in plan.command.argv)


PARSER = """
import argparse


def setup_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=str, required=True)
    parser.add_argument("--data", type=str)
    parser.add_argument("--output_dir", type=str)
    parser.add_argument("--epochs", type=int, default=3)
    return parser
"""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """The engine of the page in the table, with the options that a checkout of it declares."""
    known: dict[str, object] = {"__name__": "sketch"}
    exec(ENGINE, known)  # noqa: S102 - our own page
    ((name, made),) = eval(LINE, known).items()  # noqa: S307
    checkout, file = tmp_path / "sketch trainer", tmp_path / made.INFO.snapshot
    checkout.mkdir()
    (checkout / "train_sketch.py").write_text(PARSER, encoding="utf-8")
    file.write_text(encode(read_checkout(checkout, made.INFO, made.INFO.commit)), encoding="utf-8")
    real = snapshot.shipped_file
    monkeypatch.setattr(snapshot, "shipped_file", lambda info: file if info is made.INFO else real(info))
    monkeypatch.setitem(table.ENGINES, name, made)
    monkeypatch.setitem(table.INFOS, name, made.INFO)
    monkeypatch.setitem(table._OWNERS, "train_sketch.py", made.INFO)
    monkeypatch.setattr(table, "FAMILIES", (*table.FAMILIES, *made.FAMILIES))
    return made


def test_one_class_and_one_line_make_an_engine(tmp_path: Path, engine: Engine):
    plan = planned(tmp_path / "run", "args=null", "args.epochs=2")
    assert errors(plan) == []
    assert plan.engine is engine.INFO
    assert plan.command is not None
    assert plan.command.argv[1] == "train_sketch.py"
    assert plan.command.argv[-1] == "--epochs=2"
    assert plan.steps is not None
    assert (plan.steps.epochs, plan.steps.total) == (2, 60)
    assert plan.steps.checkpoints == ("sketch_lora-000001.safetensors", "sketch_lora.safetensors")


def test_an_option_that_the_new_engine_does_not_have_is_told(tmp_path: Path, engine: Engine):
    assert any(
        "train_sketch.py has no option 'epoch'" in line for line in errors(planned(tmp_path / "r", "args.epoch=2"))
    )
