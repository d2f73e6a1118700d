"""Which text encoders read the captions of a family, with what limits, and where their tokenizers' files are."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.tokens import Encoder, read_merges
from kohya_runner.preflight.hub_cache import repo_folder
from kohya_runner.trainers.families import CLIP_G, CLIP_L, T5_XXL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kohya_runner.dataset.tokens import Merges
    from kohya_runner.trainers.families import Support

NAMES = {CLIP_L: "CLIP-L", CLIP_G: "CLIP-G", T5_XXL: "T5-XXL"}
CLIP_TOKENS = 75  # 77 with both marks
LENGTHS = (150, 225)  # what max_token_length may be (library/train_util.py:3902)
_LONGER = ("sd15", "sdxl")  # families that read max_token_length (strategy_sd.py:34, strategy_sdxl.py:28)


def encoders(
    support: Support, option: Callable[[str], Any], *, model: str = "", places: tuple[Path, ...] = ()
) -> tuple[Encoder, ...]:
    """One encoder per tokenizer of the family. ``option`` gives the trainer's options by name.

    ``places`` are folders that may hold tokenizers: the one of --tokenizer_cache_dir, the Hub cache.
    """
    return tuple(_encoder(repo, support, option, model=model, places=places) for repo in support.tokenizers)


def _encoder(
    repo: str, support: Support, option: Callable[[str], Any], *, model: str, places: tuple[Path, ...]
) -> Encoder:
    name = NAMES.get(repo, repo)
    if repo == T5_XXL:  # flux_train_network.py:170-177; one token is the end mark
        default = 256 if "schnell" in model.lower() else 512
        return Encoder(name, (option("t5xxl_max_token_length") or default) - 1, "t5")
    if support.family not in _LONGER:
        return Encoder(name, CLIP_TOKENS, "clip", find_merges(repo, places))
    limit = option("max_token_length") or CLIP_TOKENS
    longer = tuple(length for length in LENGTHS if length > limit)
    return Encoder(name, limit, "clip", find_merges(repo, places), longer)


def find_merges(repo: str, places: tuple[Path, ...]) -> Merges | None:
    """The tokenizer's merges from the first place that has them; nothing is downloaded."""
    folders = (folder for place in places for folder in _folders(repo, place))
    return next((found for folder in folders if (found := _read(folder)) is not None), None)


def _folders(repo: str, place: Path) -> Iterator[Path]:
    """--tokenizer_cache_dir's name for it (strategy_base.py:59), then the Hub cache's snapshots."""
    yield place / repo.replace("/", "_")
    snapshots = repo_folder(place, repo) / "snapshots"
    if snapshots.is_dir():
        yield from sorted(snapshots.iterdir())


@lru_cache(maxsize=8)
def _read(folder: Path) -> Merges | None:
    return read_merges(folder) if (folder / "merges.txt").is_file() else None
