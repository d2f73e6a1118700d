"""What the run and its data say beyond the files: hashes, size, captions, trigger words, training pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.compare.edit_training import trained_pairs, trained_size
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kohya_runner.engines.painting import Base
    from kohya_runner.record.record import Record

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_NO_BRACES = str.maketrans("{}", "  ")
CAPTIONS = 2
"""How many captions stand in for prompts that nobody gave."""


def hashes_of(run_dir: Path | None, record: Record | None) -> dict[str, str]:
    """The hashes on record of files that have not changed since it was written."""
    if run_dir is None or record is None:
        return {}
    known = {}
    written = RunPaths(run_dir).record.stat().st_mtime
    for checkpoint in record.checkpoints:
        try:
            status = (run_dir / record.output_dir / checkpoint.file).stat()
        except OSError:
            continue
        if checkpoint.sha256 and status.st_size == checkpoint.bytes and status.st_mtime <= written:
            known[checkpoint.file] = checkpoint.sha256
    return known


def resolution_of(base: Base) -> str | None:
    """The training's size as WIDTHxHEIGHT, None where it says none."""
    if base.text("dataset_config"):
        return trained_size(base)
    parts = (base.text("resolution") or "").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        return None
    return f"{int(parts[0])}x{int(parts[-1])}"


def training_files(base: Base) -> tuple[Path, ...]:
    """The pictures the run was trained on, as they were laid out."""
    return _files(base, PICTURES) or tuple(pair.target for pair in trained_pairs(base))


def captions_of(base: Base) -> tuple[str, ...]:
    """The captions of the first and the middle training picture."""
    files = _files(base, frozenset({base.text("caption_extension") or ".caption"}))
    chosen = dict.fromkeys(files[len(files) * n // CAPTIONS] for n in range(CAPTIONS) if files)
    texts = (_line(path) for path in chosen) if files else _instructions(base)
    return tuple(text for text in texts if text)


def _instructions(base: Base) -> Iterator[str]:
    """Those of the first and the middle pair."""
    pairs = trained_pairs(base)
    chosen = dict.fromkeys(pairs[len(pairs) * n // CAPTIONS].instruction for n in range(CAPTIONS) if pairs)
    return (_plain(text) for text in chosen)


def _plain(text: str) -> str:
    """A caption without what the scripts would obey in it."""
    return " ".join(text.split()).replace("--", "-").translate(_NO_BRACES)


def _line(path: Path) -> str:
    """A caption's first line, as the trainer takes it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return _plain(lines[0]) if lines else ""


def _files(base: Base, suffixes: frozenset[str]) -> tuple[Path, ...]:
    folder = base.text("train_data_dir")
    if folder is None or not os.path.isdir(folder):
        return ()
    return tuple(sorted(p for p in Path(folder).glob("*/*") if p.suffix.lower() in suffixes and p.is_file()))


def triggers_of(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The words the recipe's captions must hold one of, else the concepts."""
    datasets = [d for d in recipe.get("datasets") or () if isinstance(d, dict) and not d.get("regularization")]
    wanted = [word for d in datasets for word in _listed((d.get("captions") or {}).get("contains_any"))]
    concepts = [str(d["concept"]).replace("_", " ") for d in datasets if d.get("concept")]
    return tuple(dict.fromkeys(wanted or concepts))


def _listed(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []
