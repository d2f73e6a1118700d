"""Which text encoders read the captions of a family, with what limits, and where their tokenizers' files are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.token_count import Encoder, Merges, read_merges
from kohya_runner.engines.support import QWEN_VL, T5_XXL, Support
from kohya_runner.machine.downloads import repo_folder
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.dataset.tokenizer_files import Tokenizer


Option = Callable[[str], Any]


QWEN_3 = "Qwen/Qwen3-0.6B"
CLIP_TOKENS = 75  # 77 with both marks
LENGTHS = (150, 225)  # what max_token_length may be (library/args.py:288)
PROMPT_START = "<Prompt Start>"  # library/strategy_lumina.py:39

FILES: dict[str, tuple[str, ...]] = {"clip": ("merges.txt", "vocab.json"), "t5": ("spiece.model",)}
"""What must be fetched of a repository to count with its tokenizer; of others tokenizer.json."""
IN_CHECKOUT = {T5_XXL: "t5_old", QWEN_3: "qwen3_06b", QWEN_VL: "qwen3_06b"}
"""Folders of sd-scripts' ``configs``: the same T5 vocabulary, and the one vocabulary of all Qwen 2.5 and 3."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text encoder of a family; ``text_encoders.toml`` says what its fields mean."""

    name: str
    repo: str = ""
    kind: str = "clip"
    option: str = ""
    tokens: int = CLIP_TOKENS
    schnell: int = 0  # tokens of a model of that name
    marks: int = 0
    subfolder: str = ""
    longer: bool = False
    system_prompt: bool = False

    def limit(self, option: Option, model: str) -> int:
        """The longest caption in tokens, without marks."""
        usual = self.schnell if self.schnell and "schnell" in model.lower() else self.tokens
        return int((option(self.option) if self.option else 0) or usual) - self.marks

    def before(self, option: Option) -> str:
        text = option("system_prompt") if self.system_prompt else ""
        return f"{text} {PROMPT_START} " if text else ""


ROWS: dict[str, tuple[Row, ...]] = {
    "flux2": (),  # Mistral's or Qwen's tokens inside a chat template: not counted here
    "qwen_image_edit": (),  # read with the pictures, without a limit (qwen_image/qwen_image_utils.py:468)
    **{
        family: tuple(Row(**row) for row in rows)
        for family, rows in read_table(Path(__file__).with_name("text_encoders.toml")).items()
    },
}
"""The encoders of each family in the trainer's order."""


def encoders(
    support: Support, option: Option, *, model: str = "", places: tuple[Path, ...] = (), checkout: Path | None = None
) -> tuple[Encoder, ...]:
    """One encoder per tokenizer of the family, none without rows. ``option`` gives the trainer's options by name.

    ``places`` are folders that may hold tokenizers: the one of --tokenizer_cache_dir, the Hub cache; ``checkout`` is
    sd-scripts', which comes with two.
    """
    found = []
    for row in ROWS.get(support.family, ()):
        limit = row.limit(option, model)
        if row.kind == "clip":
            longer = tuple(length for length in LENGTHS if length > limit) if row.longer else ()
            folders = _folders(row, places)
            merges = next((read for folder in folders if (read := _read(folder)) is not None), None)
            found.append(Encoder(row.name, limit, "clip", merges, longer))
            continue
        named = option(OWN_PATHS.get((support.family, row.kind), ""))
        own = _tokenizer(Path(str(named)), converted=False) if named else None
        files = own if named else _found(row, support, places, checkout)
        found.append(Encoder(row.name, limit, row.kind, files=files, before=row.before(option)))
    return tuple(found)


OWN_PATHS = {("anima", "t5"): "t5_tokenizer_path"}
"""Options that name a tokenizer's folder, by family and kind."""
BUNDLED = ("anima",)
"""Families whose tokenizers are the checkout's own (library/anima_utils.py:163, :271)."""


def _found(row: Row, support: Support, places: tuple[Path, ...], checkout: Path | None) -> Tokenizer | None:
    """The tokenizer's files from the first place that has them; nothing is downloaded."""
    if not row.repo:
        return None
    if support.family not in BUNDLED:
        made = (_tokenizer(folder, converted=False) for folder in _folders(row, places))
        if found := next(filter(None, made), None):
            return found
    own = IN_CHECKOUT.get(row.repo)
    if own is None or checkout is None:
        return None
    return _tokenizer(checkout / "configs" / own, converted=support.family not in BUNDLED)


def missing(support: Support, found: tuple[Encoder, ...]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(repository, subfolder, files) of the tokenizers of which no files are here, in the trainer's order."""
    rows = zip(ROWS[support.family], found, strict=True)
    lacking = [row for row, encoder in rows if row.repo and not encoder.known]
    return tuple((row.repo, row.subfolder, FILES.get(row.kind, ("tokenizer.json",))) for row in lacking)


def _folders(row: Row, places: tuple[Path, ...]) -> Iterator[Path]:
    """Of each place --tokenizer_cache_dir's name for it (strategy_base.py:57), then the Hub cache's snapshots."""
    for place in places:
        yield place / row.repo.replace("/", "_")
        snapshots = repo_folder(place, row.repo) / "snapshots"
        if os.path.isdir(snapshots):
            yield from (folder / row.subfolder for folder in sorted(snapshots.iterdir()))


@lru_cache(maxsize=8)
def _read(folder: Path) -> Merges | None:
    return read_merges(folder) if os.path.isfile(folder / "merges.txt") else None


@lru_cache(maxsize=8)
def _tokenizer(folder: Path, *, converted: bool) -> Tokenizer | None:
    from kohya_runner.dataset.tokenizer_files import read_tokenizer

    return read_tokenizer(folder, converted=converted) if os.path.isdir(folder) else None
