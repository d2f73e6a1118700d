from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pictures import draw, pair, scanned

from kohya_runner.dataset.caption_checks import regex_problem
from kohya_runner.dataset.folder_checks import check_datasets
from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.findings import Finding

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def found(folder: Path, **rules: Any) -> list[Finding]:
    return list(check_datasets([scanned(folder, rules=rules)]))


def test_captions_that_may_be_missing_are_no_fault(odd_path: Path):
    draw(odd_path / "a.png")
    (finding,) = found(odd_path, optional=True)
    assert (finding.severity, finding.code) == (INFO, "caption.missing")


def test_a_missing_caption_is_an_error_that_says_what_would_be_trained(odd_path: Path) -> None:
    draw(odd_path / "a.png")
    (finding,) = found(odd_path)
    assert (finding.severity, finding.code, finding.where) == (ERROR, "caption.missing", str(odd_path / "a.png"))
    assert finding.hint == "the trainer trains them as 'cat'; if so, write in the entry captions: {optional: true}"


@pytest.mark.parametrize(
    ("data", "severity", "code"),
    [
        pytest.param(b"", ERROR, "caption.empty", id="no byte"),
        pytest.param(b"\nx", ERROR, "caption.blank", id="blank first line"),
        pytest.param(b"caf\xe9", ERROR, "caption.encoding", id="latin-1"),
        pytest.param(b"one\ntwo", WARNING, "caption.lines", id="two lines"),
        pytest.param(b"\xef\xbb\xbfone", WARNING, "caption.bom", id="a byte order mark"),
    ],
)
def test_a_faulty_caption_is_one_finding(odd_path: Path, data: bytes, severity: Severity, code: str) -> None:
    pair(odd_path, "a")
    (odd_path / "a.txt").write_bytes(data)
    assert [(finding.severity, finding.code) for finding in found(odd_path)] == [(severity, code)]


def test_a_caption_that_leads_nowhere_is_an_error(odd_path: Path) -> None:
    draw(odd_path / "a.png")
    (odd_path / "a.txt").symlink_to(odd_path / "gone")
    assert [finding.code for finding in found(odd_path)] == ["caption.unreadable"]


RULES = [
    pytest.param({"starts_with": "pixel art"}, "pixel art, a cat", "a cat, pixel art", id="starts_with"),
    pytest.param({"contains_any": ("punk", "baby")}, "a baby", "a cat", id="contains_any"),
    pytest.param({"contains_all": ("palette:", "#")}, "palette: #fff", "palette: none", id="contains_all"),
    pytest.param({"matches": "#[0-9a-f]{6}"}, "red #ff0000", "red #ff00", id="matches"),
    pytest.param({"max_tokens": 7}, "a cat", "1 2 3 4 5 6 7 8", id="max_tokens"),
]


@pytest.mark.parametrize(("rule", "good", "bad"), RULES)
def test_a_caption_that_keeps_a_rule_is_fine(odd_path: Path, rule: dict[str, Any], good: str, bad: str) -> None:
    pair(odd_path, "a", good)
    assert found(odd_path, **rule) == []


@pytest.mark.parametrize(("rule", "good", "bad"), RULES)
def test_a_caption_that_breaks_a_rule_is_an_error(odd_path: Path, rule: dict[str, Any], good: str, bad: str) -> None:
    pair(odd_path, "a", good)
    pair(odd_path, "b", bad)
    (finding,) = found(odd_path, **rule)
    assert (finding.severity, finding.code) == (ERROR, f"caption.{next(iter(rule))}")
    assert finding.where == str(odd_path / "b.txt")


def test_a_broken_rule_shows_the_first_offending_text(odd_path: Path) -> None:
    pair(odd_path, "a", "x" * 300)
    (finding,) = found(odd_path, starts_with="pixel art")
    assert finding.message.endswith(f"a.txt; the first reads '{'x' * 79}…'")


def test_a_byte_order_mark_breaks_no_other_rule(odd_path: Path) -> None:
    pair(odd_path, "a", "\ufeffpixel art")
    assert [finding.code for finding in found(odd_path, starts_with="pixel art")] == ["caption.bom"]


def test_a_faulty_caption_is_not_judged_by_the_rules_too(odd_path: Path) -> None:
    pair(odd_path, "a", "")
    assert [finding.code for finding in found(odd_path, starts_with="pixel art")] == ["caption.empty"]


def test_a_caption_that_may_be_too_long_is_a_warning(odd_path: Path) -> None:
    pair(odd_path, "a", "extraordinarily")
    (finding,) = found(odd_path, max_tokens=7)
    assert (finding.severity, finding.code) == (WARNING, "caption.max_tokens")
    assert "at most 16 by an estimate that never counts too low" in finding.message


def test_a_shared_caption_is_named_once(odd_path: Path) -> None:
    pair(odd_path, "a", "x")
    draw(odd_path / "a.jpg")
    finding = next(finding for finding in found(odd_path, starts_with="pixel") if finding.code == "caption.starts_with")
    assert finding.message.startswith("1 caption not beginning")


def test_a_pattern_with_a_fault_is_the_recipe_s_problem_and_not_tried(odd_path: Path) -> None:
    pair(odd_path, "a")
    assert found(odd_path, matches="(") == []
    assert regex_problem("(") == "is not a regular expression: missing ), unterminated subpattern at position 0"


def test_a_good_pattern_has_no_problem() -> None:
    assert regex_problem("#[0-9a-f]{6}") is None


def test_a_pattern_that_would_take_for_ever_is_an_error(odd_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kohya_runner.dataset.caption_checks.PATTERN_SECONDS", 0.3)
    pair(odd_path, "a")
    (odd_path / "a.txt").write_text("x" * 4000, encoding="utf-8")
    (finding,) = found(odd_path, matches="(.*)*,(.*)*,(.*)*b$")
    assert (finding.severity, finding.code) == (ERROR, "caption.matches")
    assert "takes more than" in finding.message
