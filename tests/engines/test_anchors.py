"""The lines that rules rest on are found where they are, and a rule without its line is not applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines import table
from kohya_runner.engines.anchors import Anchor, Sources, anchors, encode_anchors
from kohya_runner.engines.anchors import table as all_anchors
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.table import options_for
from kohya_runner.engines.update_snapshot import write_anchors

CODE = "args.adaptive_noise_scale"
(PINNED,) = anchors("sd-scripts", CODE)


def checkout(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def function(name: str, text: str, above: int = 0) -> str:
    return "# a comment\n" * above + f"def {name}(args):\n    {text} ...\n"


def found(root: Path):
    row = table.find("sd15", "lora")
    assert row is not None
    options = ParsedOptions(options_for(row.script, None), {"adaptive_noise_scale": 0.1})
    return {f.code: f.message for f in evaluate(Context(options, row, checkout=root), RULES)}


def test_a_line_that_moved_inside_its_file_is_shown_where_it_is(tmp_path: Path):
    root = checkout(tmp_path, {PINNED.file: function(PINNED.function, PINNED.text, above=7)})
    assert f"({PINNED.file}:9)" in found(root)[CODE]


def test_a_function_that_moved_to_another_file_is_found_there(tmp_path: Path):
    root = checkout(tmp_path, {"library/elsewhere.py": function(PINNED.function, PINNED.text, above=2)})
    assert "(library/elsewhere.py:4)" in found(root)[CODE]


@pytest.mark.parametrize("text", [function(PINNED.function, "if args.changed:"), "", "no ( Python"])
def test_a_rule_whose_line_changed_is_not_applied_and_that_is_told(tmp_path: Path, text: str):
    said = found(checkout(tmp_path, {PINNED.file: text}))
    assert CODE not in said
    assert CODE in said["trainer.rules"]


def test_the_same_text_in_another_function_of_another_file_is_not_the_line(tmp_path: Path):
    root = checkout(tmp_path, {"library/elsewhere.py": function("another", PINNED.text)})
    assert Sources(root).find(PINNED) is None


def test_a_script_of_a_list_stands_on_its_own_line():
    lines = anchors("sd-scripts", "args.cached_text_training", "anima_train_network.py")
    assert [line.file for line in lines] == ["anima_train_network.py"]


def test_a_network_module_of_a_list_stands_on_its_own_line():
    lines = anchors("sd-scripts", "args.network_args_in_dims", "sd3_train_network.py", "networks.lora_sd3")
    assert [line.file for line in lines] == ["networks/lora_sd3.py"]


def test_every_rule_has_its_lines():
    assert [rule.code for rule in RULES if not rule.upstream] == []


def test_the_file_written_anew_holds_the_present_places_and_what_is_lost_is_told(tmp_path: Path):
    root = checkout(tmp_path / "checkout", {PINNED.file: function(PINNED.function, PINNED.text, above=3)})
    lost = write_anchors(root, "sd-scripts", tmp_path / "anchors.json")
    assert PINNED not in lost
    assert len(lost) > 300
    expected = {**all_anchors()["sd-scripts"], CODE: {"": (PINNED._replace(line=5),)}}
    text = (tmp_path / "anchors.json").read_text(encoding="utf-8")
    assert f'"{CODE}"' in text
    assert encode_anchors({**all_anchors(), "sd-scripts": expected}).count("\n") == text.count("\n")
    assert f'"{PINNED.function}", "{PINNED.text}", 5]' in text


def test_an_anchor_says_its_place():
    assert Anchor("a.py", "f", "text", 3).place == "a.py:3"
