"""Which text encoders read the captions of a family, with what limits, and where their tokenizers' files are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.token_count import QUOTED, Encoder, Merges, read_merges
from kohya_runner.engines.support import CLIP_G, CLIP_L, GEMMA2, QWEN_VL, SD2_REPO, T5_XXL, Support
from kohya_runner.machine.downloads import repo_folder

if TYPE_CHECKING:
    from kohya_runner.dataset.tokenizer_files import Tokenizer


Option = Callable[[str], Any]


QWEN_3 = "Qwen/Qwen3-0.6B"
CLIP_TOKENS = 75  # 77 with both marks
LENGTHS = (150, 225)  # what max_token_length may be (library/args.py:288)
QWEN_TOKENS = 1024  # library/hunyuan_image_text_encoder.py:503
BYT5_TOKENS = 127  # 128 with the end mark (library/hunyuan_image_text_encoder.py:585)
PROMPT_START = "<Prompt Start>"  # library/strategy_lumina.py:39

FILES: dict[str, tuple[str, ...]] = {"clip": ("merges.txt", "vocab.json"), "t5": ("spiece.model",)}
"""What must be fetched of a repository to count with its tokenizer; of others tokenizer.json."""
IN_CHECKOUT = {T5_XXL: "t5_old", QWEN_3: "qwen3_06b", QWEN_VL: "qwen3_06b"}
"""Folders of sd-scripts' ``configs``: the same T5 vocabulary, and the one vocabulary of all Qwen 2.5 and 3."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text encoder of a family."""

    name: str
    repo: str
    kind: str = "clip"
    limit: Callable[[Option, str], int] = lambda _option, _model: CLIP_TOKENS
    subfolder: str = ""
    longer: bool = False  # it reads max_token_length
    before: Callable[[Option], str] = lambda _option: ""


def _clip_length(option: Option, _model: str) -> int:
    return int(option("max_token_length") or CLIP_TOKENS)


def _flux_t5(option: Option, model: str) -> int:
    """flux_train_network.py:175-182; one token is the end mark."""
    return int(option("t5xxl_max_token_length") or (256 if "schnell" in model.lower() else 512)) - 1


def _own(name: str, default: int, marks: int) -> Callable[[Option, str], int]:
    return lambda option, _model: int(option(name) or default) - marks


def _system_prompt(option: Option) -> str:
    text = option("system_prompt")
    return f"{text} {PROMPT_START} " if text else ""


_L, _G = Row("CLIP-L", CLIP_L), Row("CLIP-G", CLIP_G)
_T5 = "T5-XXL"

ROWS: dict[str, tuple[Row, ...]] = {
    "sd15": (Row("CLIP-L", CLIP_L, limit=_clip_length, longer=True),),
    "sd2": (Row("CLIP-H", SD2_REPO, limit=_clip_length, longer=True, subfolder="tokenizer"),),
    "sdxl": (
        Row("CLIP-L", CLIP_L, limit=_clip_length, longer=True),
        Row("CLIP-G", CLIP_G, limit=_clip_length, longer=True),
    ),
    "flux": (_L, Row(_T5, T5_XXL, "t5", _flux_t5)),
    "flux_kontext": (_L, Row(_T5, T5_XXL, "t5", _own("", 512, 1))),
    "flux2": (),  # Mistral's or Qwen's tokens inside a chat template: not counted here
    "sd3": (_L, _G, Row(_T5, T5_XXL, "t5", _own("t5xxl_max_token_length", 256, 1))),
    "lumina": (
        Row("Gemma 2", GEMMA2, "bytes", _own("gemma2_max_token_length", 256, 1), before=_system_prompt),
    ),
    "hunyuan_image": (
        Row("Qwen2.5-VL", QWEN_VL, "bytes", lambda _option, _model: QWEN_TOKENS),
        Row("ByT5 (words in quotes)", "", QUOTED, lambda _option, _model: BYT5_TOKENS),
    ),
    "anima": (
        Row("Qwen3", QWEN_3, "bytes", _own("qwen3_max_token_length", 512, 0)),
        Row("T5", T5_XXL, "t5", _own("t5_max_token_length", 512, 1)),
    ),
}  # fmt: skip
"""The encoders of each family in the trainer's order (library/strategy_*.py); limits without their marks."""


def encoders(
    support: Support, option: Option, *, model: str = "", places: tuple[Path, ...] = (), checkout: Path | None = None
) -> tuple[Encoder, ...]:
    """One encoder per tokenizer of the family, none without rows. ``option`` gives the trainer's options by name.

    ``places`` are folders that may hold tokenizers: the one of --tokenizer_cache_dir, the Hub cache; ``checkout`` is
    sd-scripts', which comes with two.
    """
    return tuple(
        _encoder(row, support, option, model, _Places(places, checkout)) for row in ROWS.get(support.family, ())
    )


@dataclass(frozen=True, slots=True)
class _Places:
    folders: tuple[Path, ...]
    checkout: Path | None


OWN_PATHS = {("anima", "t5"): "t5_tokenizer_path"}
"""Options that name a tokenizer's folder, by family and kind."""
BUNDLED = ("anima",)
"""Families whose tokenizers are the checkout's own (library/anima_utils.py:163, :271)."""


def _encoder(row: Row, support: Support, option: Option, model: str, places: _Places) -> Encoder:
    limit = row.limit(option, model)
    if row.kind == "clip":
        longer = tuple(length for length in LENGTHS if length > limit) if row.longer else ()
        return Encoder(row.name, limit, "clip", find_merges(row.repo, places.folders, row.subfolder), longer)
    path = OWN_PATHS.get((support.family, row.kind))
    named = option(path) if path else None
    files = _tokenizer(Path(str(named)), converted=False) if named else _found(row, support, places)
    return Encoder(row.name, limit, row.kind, files=files, before=row.before(option))


def _found(row: Row, support: Support, places: _Places) -> Tokenizer | None:
    """The tokenizer's files from the first place that has them; nothing is downloaded."""
    if not row.repo:
        return None
    if support.family not in BUNDLED:
        folders = (folder for place in places.folders for folder in _folders(row.repo, place, row.subfolder))
        found = next((made for folder in folders if (made := _tokenizer(folder, converted=False))), None)
        if found is not None:
            return found
    own = IN_CHECKOUT.get(row.repo)
    if own is None or places.checkout is None:
        return None
    return _tokenizer(places.checkout / "configs" / own, converted=support.family not in BUNDLED)


def find_merges(repo: str, places: tuple[Path, ...], subfolder: str = "") -> Merges | None:
    """CLIP's merges from the first place that has them; nothing is downloaded."""
    folders = (folder for place in places for folder in _folders(repo, place, subfolder))
    return next((found for folder in folders if (found := _read(folder)) is not None), None)


def missing(support: Support, found: tuple[Encoder, ...]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(repository, subfolder, files) of the tokenizers of which no files are here, in the trainer's order."""
    rows = zip(ROWS[support.family], found, strict=True)
    lacking = [row for row, encoder in rows if row.repo and not encoder.known]
    return tuple((row.repo, row.subfolder, FILES.get(row.kind, ("tokenizer.json",))) for row in lacking)


def _folders(repo: str, place: Path, subfolder: str) -> Iterator[Path]:
    """--tokenizer_cache_dir's name for it (strategy_base.py:57), then the Hub cache's snapshots."""
    yield place / repo.replace("/", "_")
    snapshots = repo_folder(place, repo) / "snapshots"
    if os.path.isdir(snapshots):
        yield from (folder / subfolder for folder in sorted(snapshots.iterdir()))


@lru_cache(maxsize=8)
def _read(folder: Path) -> Merges | None:
    return read_merges(folder) if os.path.isfile(folder / "merges.txt") else None


@lru_cache(maxsize=8)
def _tokenizer(folder: Path, *, converted: bool) -> Tokenizer | None:
    from kohya_runner.dataset.tokenizer_files import read_tokenizer

    return read_tokenizer(folder, converted=converted) if os.path.isdir(folder) else None
