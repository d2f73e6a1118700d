"""What holds the package in its rooms; the order of the rooms is import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from kohya_runner.record.run_paths import RunPaths

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

TABLES = (ast.Assign, ast.AnnAssign)
"""A module that is for the larger part assignments is a table, and may be longer."""

_RUN = Path("workspace", "runs", "name", "001")
_NAMES = {path.name for path in vars(RunPaths(_RUN)).values() if _RUN in path.parents}
RUN_FILES = {name for name in _NAMES if not name.isalpha()}
RUN_FOLDERS = _NAMES - RUN_FILES
"""These are words, too: they count where a path is joined."""
ENGINE_NAMES = {"sd-scripts", "musubi-tuner"}
ENGINE_PACKAGES = {"sd_scripts", "musubi", "diffusers", "MUSUBI_TUNER", "DIFFUSERS"}

NAMED_ELSEWHERE = {
    # the name of the folder in a traceback
    "diagnosis/tracebacks.py: sd-scripts",
    # the practice trainer stands in for each
    "practice/diffusers.py: diffusers",
    "practice/musubi.py: musubi",
    "practice/sd_scripts.py: sd_scripts",
    "practice/trainer.py: DIFFUSERS",
    "practice/trainer.py: MUSUBI_TUNER",
    "practice/trainer.py: diffusers",
    "practice/trainer.py: musubi",
    "practice/trainer.py: sd_scripts",
}
"""May only shrink."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.AST) -> set[str]:
    """Every literal that is a text; docstrings are none that anybody compares."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_tests_are_in_the_rooms_of_what_they_test():
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()} - {"__pycache__"}
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders - rooms == {"engine", "newcomer", "recipes", "security", "support"}


def test_no_two_files_of_tests_have_the_same_name():
    """pytest imports each by its name alone: the second one would end the whole run."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_folder_has_at_most_25_modules():
    folders = Counter(name_of(path.parent) for path in MODULES)
    assert {folder for folder, count in folders.items() if count > 25} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_small_and_its_functions_are_short(path: Path):
    tree = tree_of(path)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50] == []
    rows = sum((node.end_lineno or 0) - node.lineno + 1 for node in tree.body if isinstance(node, TABLES))
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= (450 if 2 * rows > lines else 300)


def test_no_two_public_classes_have_the_same_name():
    names = Counter(
        node.name
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_only_record_spells_the_names_below_a_run():
    found = set()
    for path in (path for path in MODULES if path.parent.name != "record"):
        tree = tree_of(path)
        joined = {
            node.right.value
            for node in ast.walk(tree)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant)
        }
        found |= {f"{name_of(path)}: {name}" for name in (texts(tree) & RUN_FILES) | (joined & RUN_FOLDERS)}
    assert found == set()


def test_only_the_engines_know_engines_by_name():
    found = set()
    for path in (path for path in MODULES if PACKAGE / "engines" not in path.parents and path.stem != "engine_info"):
        tree = tree_of(path)
        found |= {f"{name_of(path)}: {text}" for text in texts(tree) & ENGINE_NAMES}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kohya_runner.engine"):
                parts = {*(node.module or "").split("."), *(alias.name for alias in node.names)}
                found |= {f"{name_of(path)}: {part}" for part in parts & ENGINE_PACKAGES}
    assert found == NAMED_ELSEWHERE


def test_no_dataclass_has_a_field_of_anything():
    """What goes from the recipe to the plan has a type; JSON of others is where it is read and where it is shown."""
    found = {
        f"{name_of(path)}: {node.name}.{ast.unparse(field.target)}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(made) for made in node.decorator_list)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and "dict[str, Any]" in ast.unparse(field.annotation)
    }
    assert found == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_runner_imports_no_trainer_and_each_library_has_one_owner(path: Path):
    names = imports(path)
    if not IN_THE_TRAINERS_PYTHON.search(path.name):
        assert not names & HEAVY
    for library, owners in OWNERS.items():
        assert library not in names or path.name in owners


@pytest.mark.parametrize("path", MODULES, ids=name_of)
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
