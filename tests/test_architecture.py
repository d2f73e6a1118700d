from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kohya_runner"
MODULES = sorted(PACKAGE.rglob("*.py"))
IN_THE_TRAINERS_PYTHON = re.compile(r"_worker\.py$")
HEAVY = {
    "torch",
    "accelerate",
    "diffusers",
    "transformers",
    "xformers",
    "bitsandbytes",
    "library",
    "numpy",
    "safetensors",
}
OWNERS = {"rich": {"console.py", "plan_screen.py", "watch_screen.py"}, "ruamel": {"yamlio.py", "settings.py"}}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_small_and_its_functions_are_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_runner_imports_no_trainer_and_each_library_has_one_owner(path: Path):
    names = imports(path)
    if not IN_THE_TRAINERS_PYTHON.search(path.name):
        assert not names & HEAVY
    for library, owners in OWNERS.items():
        assert library not in names or path.name in owners


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_shell_no_pickle_no_eval(path: Path):
    text = path.read_text(encoding="utf-8")
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "__import__"}
    assert "shell=True" not in text
    assert not imports(path) & {"pickle", "shelve", "marshal"}


def test_the_start_of_the_command_imports_only_click():
    assert imports(PACKAGE / "commands" / "cli.py") - {"__future__", "os", "sys", "pathlib", "typing"} >= {
        "click",
        "kohya_runner",
    }
    top = ast.parse((PACKAGE / "commands" / "cli.py").read_text(encoding="utf-8")).body
    modules = {n.module for n in top if isinstance(n, ast.ImportFrom)}
    assert modules <= {
        "__future__",
        "pathlib",
        "typing",
        "kohya_runner",
        "kohya_runner.commands.entry",
        "kohya_runner.commands.compare",
        "kohya_runner.commands.dataset",
        "kohya_runner.commands.verify",
        "kohya_runner.commands.live",
        "kohya_runner.commands.diagnose",
        "kohya_runner.engine_info",
    }


def test_no_family_is_asked_for_by_name_outside_the_tables():
    """What differs between families is a row: a family's name in a function is a branch that a new family misses."""
    asked = re.compile(r"""(?<!for )family (?:==|!=) ["']|(?<!for )family (?:not )?in [({]["']""")
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in MODULES
        if path != PACKAGE / "engines" / "sd_scripts" / "painter.py"  # is such a table
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if asked.search(line)
    ]
    assert found == []
