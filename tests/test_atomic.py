from __future__ import annotations

import json

import pytest

from kohya_runner import safe_files


def test_a_file_is_replaced_and_nothing_else_is_left(odd_path):
    target = odd_path / "sub" / "record.json"
    safe_files.write_json(target, {"a": 1})
    safe_files.write_json(target, {"a": "ü"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": "ü"}
    assert [p.name for p in target.parent.iterdir()] == ["record.json"]


def test_a_failed_write_leaves_the_old_file(odd_path):
    target = odd_path / "record.json"
    safe_files.write_text(target, "old")
    target_dir = odd_path / "folder"
    target_dir.mkdir()
    (target_dir / "x").touch()
    with pytest.raises(OSError, match=r"folder"):
        safe_files.write_text(target_dir, "new")
    assert sorted(p.name for p in odd_path.iterdir()) == ["folder", "record.json"]
    assert target.read_text(encoding="utf-8") == "old"
