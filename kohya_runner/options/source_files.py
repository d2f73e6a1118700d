"""Which files of a checkout declare options, and whether they are still the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo


def train_scripts(root: Path, engine: EngineInfo) -> tuple[str, ...]:
    """The train scripts of a checkout: those the engine lists, else the files in its root that train something."""
    entry = f"def {engine.entry}(".encode()
    if engine.scripts:
        return tuple(name for name in engine.scripts if entry in _content(root / engine.script_path(name)))
    files = sorted(path for path in root.glob("*.py") if "train" in path.stem or path.stem == "fine_tune")
    return tuple(path.name for path in files if entry in _content(path))


def content_hash(path: Path) -> str:
    """SHA-256 of a source file, whatever its line ends; empty where there is no such file."""
    data = _content(path)
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() if data else ""


def unchanged(root: Path, hashes: Mapping[str, str]) -> bool:
    """Whether all these files, by their paths in the checkout, have these hashes."""
    return all(content_hash(root / path) == digest for path, digest in hashes.items())


def fingerprint(root: Path, engine: EngineInfo) -> str:
    """One hash over the files that may declare options: those beside the scripts and in the folders below."""
    below = f"{engine.folder}/**/*.py" if engine.folder else "library/**/*.py"
    files = sorted({*root.glob("*.py"), *root.glob(below)})
    lines = (f"{path.relative_to(root).as_posix()} {content_hash(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(path: Path) -> bytes:
    """The bytes of a regular file; none where it is not one or cannot be read."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""
