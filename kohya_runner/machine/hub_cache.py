"""What lies in a Hub cache already (models--org--name/refs and snapshots), read without the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.machine.downloads import pipeline_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
"""A tokenizer is there when all files of one of these sets are."""


def repo_folder(cache: Path, repo: str) -> Path:
    """Where huggingface_hub keeps a model repository."""
    return cache / f"models--{repo.replace('/', '--')}"


def cached_files(cache: Path, repo: str, revision: str = "main") -> Mapping[str, int]:
    """Names and bytes of the complete files of a cached revision; a blob still being fetched has no link yet."""
    folder = repo_folder(cache, repo)
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        return {}
    return {
        path.relative_to(snapshot).as_posix(): path.stat().st_size for path in snapshot.rglob("*") if path.is_file()
    }


PIPELINE_PARTS = frozenset(("unet", "vae", "text_encoder"))
MORE_PARTS = {"sdxl": frozenset(("text_encoder_2",))}
"""Folders with weights in a pipeline: of every family, and besides."""


def has_pipeline(files: Mapping[str, int], *, family: str, fp16: bool) -> bool:
    """Whether the trainer can load the base model from these files: an index, and weights for every component."""
    if "model_index.json" not in files:
        return False
    chosen = pipeline_files(files, family=family, fp16=fp16)
    weighted = {name.partition("/")[0] for name in chosen if name.endswith((".safetensors", ".bin"))}
    return PIPELINE_PARTS | MORE_PARTS.get(family, frozenset()) <= weighted


def has_tokenizer(files: Mapping[str, int], subfolder: str = "") -> bool:
    """Whether a tokenizer can be made from these files."""
    prefix = f"{subfolder}/" if subfolder else ""
    return any(all(prefix + name in files for name in group) for group in TOKENIZER_FILES)
