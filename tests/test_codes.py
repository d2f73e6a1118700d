from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kohya_runner import findings
from kohya_runner.engines.rules_page import RULES
from kohya_runner.findings import Severity, error

PACKAGE = Path(findings.__file__).parent
TREES = [ast.parse(p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py")) if p.name != "findings.py"]
NODES = [node for tree in TREES for node in ast.walk(tree)]
TEXTS = {node.value for node in NODES if isinstance(node, ast.Constant) and isinstance(node.value, str)}

FILES = re.compile(
    r".*\.(json|jsonl|log|toml|yaml|safetensors|onnx|max|current|stat|events|[a-z]+_control|[a-z]+_in_bytes)"
)
"""Names of files, some of them the kernel's."""
GUARDS = {"memory.low"}
"""Guards of a run that is going on have codes of their own (docs/faults.md, docs/diagnosis.md)."""
KEYS = {"budget.max_hours"}
"""A key of the recipe, that a message names."""


def _said() -> set[tuple[str, str]]:
    """(code, severity) of every call that names both."""
    return {
        (first.value, node.func.id)
        for node in NODES
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in set(Severity)
        and node.args
        if isinstance(first := node.args[0], ast.Constant)
    }


def test_every_code_that_a_module_says_is_in_the_table():
    assert {(name, how) for name, how in _said() if how not in findings.CODES[name].severities} == set()


def test_every_text_that_looks_like_a_code_of_a_check_is_in_the_table():
    pattern = re.compile(rf"({'|'.join(findings.STAGES)})\.[a-z0-9_]+")
    rules = {rule.code for rule in RULES}
    texts = {text for text in TEXTS if pattern.fullmatch(text) and not FILES.fullmatch(text)}
    assert texts - findings.CODES.keys() - rules == GUARDS | KEYS


def test_every_code_of_the_table_is_said_somewhere():
    joined = ("args", "recipe")  # stages of codes that end with the name of the option or key
    unsaid = {c.name for c in findings.TABLE if c.name not in TEXTS}
    assert {n for n in unsaid if not (n.split(".")[0] in joined and n.split(".")[1] in TEXTS)} == set()


def test_codes_are_unique_and_stand_by_stage():
    assert len(findings.CODES) == len(findings.TABLE)
    stages = [findings.STAGES.index(code.stage) for code in findings.TABLE]
    assert stages == sorted(stages)


def test_a_code_that_is_not_in_the_table_is_a_bug():
    with pytest.raises(KeyError):
        error("caption.nonsense", "text")
    with pytest.raises(ValueError, match=r"caption\.bom as error"):
        error("caption.bom", "text")
