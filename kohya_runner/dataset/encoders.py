"""Which text encoders read the captions of a family, with what limits, and where their tokenizers' files are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.tokens import Encoder, read_merges
from kohya_runner.preflight.hub_cache import repo_folder
from kohya_runner.trainers.families import CLIP_G, CLIP_L, GEMMA2, QWEN_VL, SD2, T5_XXL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kohya_runner.dataset.tokens import Merges
    from kohya_runner.trainers.families import Support

NAMES = {CLIP_L: "CLIP-L", CLIP_G: "CLIP-G", SD2: "CLIP-H"}
QWEN3 = "Qwen/Qwen3-0.6B"
CLIP_TOKENS = 75  # 77 with both marks
LENGTHS = (150, 225)  # what max_token_length may be (library/train_util.py:3902)
SCHNELL = 256  # flux_train_network.py:171


@dataclass(frozen=True, slots=True)
class Reader:
    """A text encoder with a length of its own: the option that sets it, what it is else, and its marks."""

    name: str
    option: str
    usual: int
    marks: int = 1
    kind: str = "t5"


_T5 = Reader("T5-XXL", "t5xxl_max_token_length", 512)
READERS: Mapping[tuple[str, str], Reader] = {
    ("flux", T5_XXL): _T5,
    ("sd3", T5_XXL): replace(_T5, usual=256),
    ("lumina", GEMMA2): Reader("Gemma 2", "gemma2_max_token_length", 256, kind="bytes"),
    ("hunyuan_image", QWEN_VL): Reader("Qwen2.5-VL", "", 1024, kind="bytes"),  # hunyuan_image_text_encoder.py:503
    ("anima", QWEN3): Reader("Qwen3", "qwen3_max_token_length", 512, marks=0, kind="bytes"),
    ("anima", T5_XXL): Reader("T5 (for the adapter)", "t5_max_token_length", 512),
}
"""By family and tokenizer; any other is CLIP's."""
READ: Mapping[str, tuple[str, ...]] = {"hunyuan_image": (QWEN_VL,), "anima": (QWEN3, T5_XXL)}
"""Where these are not all the tokenizers that are fetched: ByT5 gets what stands in quotation marks, Anima's own ship
with the trainer (configs/)."""


def encoders(
    support: Support, option: Callable[[str], Any], *, model: str = "", places: tuple[Path, ...] = ()
) -> tuple[Encoder, ...]:
    """One encoder per tokenizer of the family. ``option`` gives the trainer's options by name.

    ``places`` are folders that may hold tokenizers: the one of --tokenizer_cache_dir, the Hub cache.
    """
    repos = READ.get(support.family, support.tokenizers)
    return tuple(_encoder(repo, support, option, model=model, places=places) for repo in repos)


def _encoder(
    repo: str, support: Support, option: Callable[[str], Any], *, model: str, places: tuple[Path, ...]
) -> Encoder:
    reader = READERS.get((support.family, repo))
    if reader is not None:
        usual = SCHNELL if reader is _T5 and "schnell" in model.lower() else reader.usual
        system = len(str(option("system_prompt") or "").split())  # Lumina's, before every caption
        return Encoder(reader.name, (option(reader.option) or usual) - reader.marks - system, reader.kind)
    name = NAMES.get(repo, repo)
    if not support.reads_long:
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
    for snapshot in sorted(snapshots.iterdir()) if snapshots.is_dir() else ():
        yield from (snapshot, snapshot / "tokenizer")


@lru_cache(maxsize=8)
def _read(folder: Path) -> Merges | None:
    return read_merges(folder) if (folder / "merges.txt").is_file() else None
