from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import fields
from typing import get_args

import pytest

from kohya_runner.diagnosis.signature import CAUSES, KINDS, Do, Level, read_rows, table

PATTERNS = ("pattern", "raises", "frame", "also", "before", "script", "unless")
ROW = r"""title = "Rows"

[texts]
word = '[a-z]+'

[[causes]]
code = "one"
signs = ['fell {text:word}']
cause = "it fell"
fixes = ["get up"]
source = "here"

[[causes]]
code = "two"
signs = [{ pattern = ['a', 'b\.c'], raises = 'OSError' }]
cause = "it stood"
fixes = [{ text = "args: {lowram: true}", unless = "lowram", sure = true }, "{text:word}"]
source = "there"
vague = true
"""


def written(tmp_path, old="", new=""):
    assert old in ROW
    path = tmp_path / "rows.toml"
    path.write_text(ROW.replace(old, new), encoding="utf-8")
    return path


def test_a_row_is_built_with_the_texts_of_its_file(tmp_path):
    one, two = read_rows(written(tmp_path))
    assert (one.code, one.signs[0].pattern.pattern, one.signs[0].asked) == ("one", "fell [a-z]+", ())
    assert (two.signs[0].pattern.pattern, two.signs[0].asked, two.vague) == (r"a|b\.c", ("class",), True)
    assert two.fixes == (Do("args: {lowram: true}", unless="lowram", sure=True), Do("[a-z]+"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("'fell {text:word}'", "'fell ('", "rows.toml, row 1 (one): missing ), unterminated subpattern at position 5"),
        ("{text:word}'", "{text:wrd}'", "rows.toml, row 1 (one): 'wrd'"),
        ('source = "there"', 'sauce = "there"', "rows.toml, row 2 (two): .*unexpected keyword argument 'sauce'"),
        ("raises = ", "raise = ", "rows.toml, row 2 (two): .*unexpected keyword argument 'raise'"),
        ("sure = ", "sur = ", "rows.toml, row 2 (two): .*unexpected keyword argument 'sur'"),
        ('fixes = ["get up"]', "", "rows.toml, row 1 (one): 'fixes'"),
        ('cause = "it stood"', "", "rows.toml, row 2 (two): .*missing 1 required .* 'cause'"),
    ],
    ids=lambda text: text[:12],
)
def test_a_fault_in_a_file_is_named_with_its_row(tmp_path, old, new, said):
    with pytest.raises(
        ValueError, match=said.replace("(one)", r"\(one\)").replace("(two)", r"\(two\)").replace("g )", r"g \)")
    ):
        read_rows(written(tmp_path, old, new))


def test_every_file_is_a_kind_and_its_rows_have_the_types_they_are_read_as():
    assert sorted(path.stem for path in CAUSES.iterdir()) == sorted(KINDS)
    for row in table():
        assert row.level in get_args(Level)
        assert (row.anywhere, row.vague) in {(False, False), (True, False), (False, True)}
        assert all(isinstance(value, str) for value in (row.code, row.cause, row.source))
        for fix in row.fixes:
            assert all(
                isinstance(getattr(fix, field.name), bool if field.name == "sure" else str) for field in fields(Do)
            )
    assert len({row.code for row in table()}) == len(table())


def test_no_text_of_a_file_is_left_unfilled_or_unused():
    for path in CAUSES.iterdir():
        text = path.read_text(encoding="utf-8")
        names = [line.partition(" = ")[0] for line in text.partition("[[causes]]")[0].splitlines() if " = " in line]
        assert [name for name in names if name != "title" and f"{{text:{name}}}" not in text] == []
    said = repr([[fix.text for fix in row.fixes] for row in table()])
    assert "{text:" not in said


def test_the_table_is_read_fast_and_only_for_a_diagnosis():
    for _ in range(3):
        begun = time.process_time()
        for kind in KINDS:
            read_rows(CAUSES / f"{kind}.toml")
        if (spent := time.process_time() - begun) < 0.15:
            break
    assert spent < 0.15
    code = "import kohya_runner.diagnosis.diagnose, kohya_runner.diagnosis.signature as s; print(s.table.cache_info().misses)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert out.stdout == "0\n"
