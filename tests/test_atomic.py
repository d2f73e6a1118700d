from __future__ import annotations

import json
import subprocess
import sys

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


def test_a_disk_that_is_full_is_told_with_the_file(odd_path):
    """A limit of the system on the size of files fails as a full disk does: with an error that names no file."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from kohya_runner import safe_files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "safe_files.write_bytes(Path('large.png'), bytes(1000))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=odd_path, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].endswith("File too large: 'large.png'")
    assert list(odd_path.iterdir()) == []
