from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kohya_runner.artefact import file_hash
from kohya_runner.artefact.file_hash import NAME, Hashes

DATA = b"weights" * 99
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def model(odd_path: Path) -> Path:
    path = odd_path / "m.safetensors"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model counts as large, and as written long ago."""
    monkeypatch.setattr(file_hash, "QUICK", 9)
    monkeypatch.setattr("kohya_runner.safe_files.SETTLED", -(10**10))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    found: list[Path] = []
    real = file_hash.sha256
    monkeypatch.setattr(file_hash, "sha256", lambda path: (found.append(path), real(path))[1])
    return found


def test_a_small_file_is_read_and_nothing_is_written(model, odd_path):
    assert Hashes(odd_path / "cache").of(model) == SHA
    assert not (odd_path / "cache").exists()


def test_a_large_file_is_read_only_when_asked(model, odd_path, large, reads):
    assert Hashes(odd_path / "cache").of(model) == ""
    assert reads == []
    assert Hashes(odd_path / "cache", thorough=True).of(model) == SHA


def test_what_was_read_once_is_known_to_every_later_plan(model, odd_path, large, reads):
    Hashes(odd_path / "cache", thorough=True).of(model)
    for thorough in (True, False):
        assert Hashes(odd_path / "cache", thorough=thorough).of(model) == SHA
    assert len(reads) == 1


def test_a_file_changed_under_a_restored_time_is_read_again(model, odd_path, large, reads):
    Hashes(odd_path / "cache", thorough=True).of(model)
    before = model.stat()
    model.write_bytes(DATA[::-1])
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Hashes(odd_path / "cache").of(model) == ""
    assert Hashes(odd_path / "cache", thorough=True).of(model) == hashlib.sha256(DATA[::-1]).hexdigest()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "files": [1]}', '{"version": 9, "files": {}}'])
def test_a_damaged_record_costs_only_time(model, odd_path, large, text):
    (odd_path / "cache").mkdir()
    (odd_path / "cache" / NAME).write_text(text, encoding="utf-8")
    assert Hashes(odd_path / "cache", thorough=True).of(model) == SHA
    assert Hashes(odd_path / "cache").of(model) == SHA


def test_a_file_that_is_not_there_has_none(odd_path):
    assert Hashes(odd_path).of(odd_path / "nothing") == ""
