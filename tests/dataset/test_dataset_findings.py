from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from pictures import pair, source

from kohya_runner.dataset.folder_checks import dataset_findings
from kohya_runner.dataset.survey import survey
from kohya_runner.dataset.trainer_view import rules_from

OPTIONS = {"resolution": "64", "enable_bucket": True, "min_bucket_reso": 64, "resize_interpolation": "nearest"}


def codes(folder: Path, **options: Any) -> list[str]:
    told = {**OPTIONS, **options}
    _, noted = dataset_findings([survey(source(folder))], rules_from(told.get))
    return sorted({note.finding.code for note in noted if note.finding.severity.value != "info"})


@pytest.mark.parametrize(
    ("caption", "wildcards", "expected"),
    [
        ("a {red|blue} cat", False, ["caption.wildcard"]),
        ("a {red|blue} cat", True, []),
        ("a {plain} cat", False, []),
        ("a {{red|blue}} cat", False, []),
        ("a cat\nanother cat", False, ["caption.lines"]),
        ("a cat\nanother cat", True, []),
        ("\na cat", False, ["caption.blank"]),
        ("\na cat", True, []),
        ("\n \n", True, ["caption.blank"]),
    ],
)
def test_lines_and_braces_count_as_enable_wildcard_says(odd_path, caption: str, wildcards: bool, expected: list[str]):  # noqa: FBT001
    pair(odd_path, "a", caption)
    PIL.Image.new("RGB", (64, 64)).save(odd_path / "a.png")
    assert codes(odd_path, enable_wildcard=wildcards) == expected


@pytest.mark.parametrize("value", [200, 30000])
def test_16_bits_of_grey_are_never_passed_over(odd_path, value: int):
    pair(odd_path, "a")
    PIL.Image.new("I;16", (64, 64), value).save(odd_path / "a.png")
    assert codes(odd_path) == ["image.depth"]
