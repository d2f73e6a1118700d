"""A checkout that was changed after it was checked out is told, with the files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fake_checkout import fake_checkout

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.install.checkout import Checkout, commit_of, edited_files
from kohya_runner.options.snapshot import Snapshot, content_hash


@pytest.fixture
def checkout(odd_path: Path) -> Checkout:
    root = fake_checkout(odd_path / "sd-scripts")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
        subprocess.run(("git", "-c", "user.name=a", "-c", "user.email=a@b", *words), cwd=root, check=True)
    return Checkout(root, commit_of(root), "test", SD_SCRIPTS)


def test_changed_new_and_missing_files_are_named(checkout):
    assert edited_files(checkout, os.environ) == ()
    (checkout.root / "train_network.py").write_text("import os", encoding="utf-8")
    (checkout.root / "networks" / "lora.py").unlink()
    (checkout.root / "numpy").mkdir()
    (checkout.root / "numpy" / "__init__.py").write_text("", encoding="utf-8")
    (checkout.root / "notes.txt").write_text("", encoding="utf-8")
    assert edited_files(checkout, os.environ) == ("networks/lora.py", "numpy/", "train_network.py")


def test_a_program_that_the_checkout_names_is_not_run(checkout):
    canary = checkout.root.parent / "canary"
    subprocess.run(("git", "config", "core.fsmonitor", f"touch {canary.name}; false"), cwd=checkout.root, check=True)
    edited_files(checkout, os.environ)
    assert not list(checkout.root.parent.rglob("canary"))


def test_an_archive_is_known_by_its_hashes(checkout, monkeypatch):
    root = checkout.root
    sources = {name: content_hash(root / name) for name in ("train_network.py", "library/train_util.py")}
    monkeypatch.setattr("kohya_runner.options.snapshot.shipped", lambda _: Snapshot("", sources, {}))
    archive = Checkout(root, None, "test", SD_SCRIPTS)
    assert edited_files(archive, os.environ) == ()
    (root / "library" / "train_util.py").write_text("import os", encoding="utf-8")
    assert edited_files(archive, os.environ) == ("library/train_util.py",)
